"""Held-back prompts that candidate and incumbent answer again, of this cycle and of earlier ones.

Rows that were held back stay so, and judge every later candidate as well: the more cases, the
smaller the improvement that a gate can see. An incumbent was chosen partly for its answers to the
earlier ones, so they favour it if anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from liveweights.cycle.ledger import Cycle
from liveweights.gate.replay import Case
from liveweights.learn.passages import prompt_text
from liveweights.learn.settings import LearnSettings
from liveweights.learn.truth import truth
from liveweights.learn.voters import NOBODY, Voter, find_voters, user_of
from liveweights.record.example import Example
from liveweights.record.generation import Generation
from liveweights.record.split import split_key, split_of
from liveweights.record.window import count_earlier, read_held_back, read_unjudged
from liveweights.store.database import Connection

CYCLES = 10
"""How many cycles, this one included, cases come from."""


LOOKED_AT = 8
"""So many unjudged completions are looked at for each that is wanted."""


def make_cases(
    examples: Sequence[Example],
    held_back_share: float,
    voters: Mapping[str, Voter] = MappingProxyType({}),
) -> list[tuple[Case, Generation]]:
    """Of the completions among ``examples`` those whose side of the split is still held back;
    sessions in one piece, since their prompts continue each other and engines keep the last."""
    cases = [
        (_make_case(example, voters), example.generation)
        for example in examples
        if example.generation.endpoint == "completion"
        and (example.generation.prompt_ids or prompt_text(example.generation))
        and (example.generation.output_ids or example.generation.output)
        and _is_held_back(example.generation, held_back_share)
    ]
    return sorted(cases, key=lambda pair: pair[0].session)


async def read_cases(
    conn: Connection, cycle: Cycle, settings: LearnSettings, most: int
) -> list[tuple[Case, Generation]]:
    """At most ``most``, of the last cycles first, and as far as these do not reach completions that
    nobody reacted to: of them it is known what either would say, if not what it is worth."""
    examples = await read_held_back(conn, cycle.alias, cycle.id, cycles=CYCLES, most=most)
    voters = find_voters(
        [example.generation for example in examples],
        await read_earlier(conn, cycle, settings),
        settings.known_votes,
    )
    cases = make_cases(examples, settings.held_back_share, voters)
    if (left := most - len(cases)) > 0:
        others = await read_unjudged(conn, cycle.alias, cycle.id, LOOKED_AT * left)
        cases += make_cases(others, settings.held_back_share)[:left]
    return cases


async def read_earlier(conn: Connection, cycle: Cycle, settings: LearnSettings) -> dict[str, int]:
    """Votes of earlier cycles, as far as they make known, by user (`voters.user_of`)."""
    earlier = await count_earlier(conn, cycle.id, cycle.alias, settings.known_votes)
    return {user_of(*who): count for who, count in earlier.items()}


def _make_case(example: Example, voters: Mapping[str, Voter]) -> Case:
    g = example.generation
    refused = any(f.signal == "rejected" for f in example.feedback)
    return Case(
        g.id,
        g.cluster,
        truth(g.output, example.feedback),
        rejected=g.output if refused and g.output else None,
        may_be_silent=g.selection is not None,
        voter=voters.get(g.id, NOBODY),
    )


def _is_held_back(generation: Generation, share: float) -> bool:
    key = split_key(generation.tenant, generation.session, generation.user, generation.id)
    return split_of(key, share) == "held_back"
