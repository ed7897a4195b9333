"""The prompts that a cycle's candidate is judged on: its own, and those of earlier cycles.

Rows that were held back stay so, and judge every later candidate as well: the more cases, the
smaller the improvement that a gate can see. An incumbent was chosen partly for its answers to the
earlier ones, so they favour it if anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from liveweights.catalog.template import TemplateSettings
from liveweights.cycle.bases import read_switch
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.translation import translate
from liveweights.gate.cases import CYCLES, make_cases
from liveweights.gate.scoring import Case
from liveweights.learn.settings import LearnSettings
from liveweights.learn.voters import find_voters, user_of
from liveweights.record.example import Example, find_episodes
from liveweights.record.generation import Generation
from liveweights.record.window import count_earlier, read_held_back, read_unjudged
from liveweights.release.ancestry import root_of
from liveweights.store.database import Connection

LOOKED_AT = 8
"""So many unjudged completions are looked at for each that is wanted."""


async def read_cases(
    conn: Connection,
    cycle: Cycle,
    settings: LearnSettings,
    most: int,
    template: TemplateSettings,
) -> list[tuple[Case, Generation]]:
    """At most ``most``, of the last cycles first, and as far as these do not reach completions that
    nobody reacted to: of them it is known what either would say, if not what it is worth. Those
    that were answered on another base than the candidate's are asked in words."""
    base = await _read_base(conn, cycle)
    examples = await translate(
        conn,
        await read_held_back(conn, cycle.alias, cycle.id, cycles=CYCLES, most=most),
        base,
        template,
    )
    voters = find_voters(
        [example.generation for example in examples],
        await read_earlier(conn, cycle, settings),
        settings.known_votes,
    )
    cases = make_cases(examples, settings.held_back_share, voters)
    if (left := most - len(cases)) > 0:
        others = await read_unjudged(conn, cycle.alias, cycle.id, LOOKED_AT * left)
        others = await translate(conn, others, base, template)
        cases += make_cases(others, settings.held_back_share)[:left]
    return cases


def has_episodes(cycle: Cycle, held_back: Sequence[Example]) -> bool:
    """Whether the cycle learnt from whole episodes, or held some back."""
    learnt = (cycle.learning or {}).get("conduct")
    return learnt is not None or bool(find_episodes(held_back))


async def _read_base(conn: Connection, cycle: Cycle) -> str:
    """The base that the cycle's candidate is on."""
    switch = read_switch(cycle)
    return switch.base if switch else await root_of(conn, cycle.incumbent) or cycle.incumbent


async def read_earlier(conn: Connection, cycle: Cycle, settings: LearnSettings) -> dict[str, int]:
    """Votes of earlier cycles, as far as they make known, by user (`voters.user_of`)."""
    earlier = await count_earlier(conn, cycle.id, cycle.alias, settings.known_votes)
    return {user_of(*who): count for who, count in earlier.items()}
