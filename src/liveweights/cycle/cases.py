"""Held-back prompts that candidate and incumbent answer again, of this cycle and of earlier ones.

Rows that were held back stay so, and judge every later candidate as well: the more cases, the
smaller the improvement that a gate can see. An incumbent was chosen partly for its answers to the
earlier ones, so they favour it if anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from liveweights.cycle.ledger import Cycle
from liveweights.gate.replay import Case
from liveweights.learn.passages import prompt_text
from liveweights.learn.truth import truth
from liveweights.record.example import Example
from liveweights.record.generation import Generation
from liveweights.record.split import split_key, split_of
from liveweights.record.window import read_held_back
from liveweights.store.database import Connection

CYCLES = 10
"""How many cycles, this one included, cases come from."""


def make_cases(
    examples: Sequence[Example], held_back_share: float
) -> list[tuple[Case, Generation]]:
    """Of the completions among ``examples`` those whose side of the split is still held back;
    sessions in one piece, since their prompts continue each other and engines keep the last."""
    cases = [
        (_make_case(example), example.generation)
        for example in examples
        if example.generation.endpoint == "completion"
        and (example.generation.prompt_ids or prompt_text(example.generation))
        and (example.generation.output_ids or example.generation.output)
        and _is_held_back(example.generation, held_back_share)
    ]
    return sorted(cases, key=lambda pair: pair[0].session)


async def read_cases(
    conn: Connection, cycle: Cycle, held_back_share: float, most: int
) -> list[tuple[Case, Generation]]:
    """At most ``most``, of the last cycles first."""
    examples = await read_held_back(conn, cycle.alias, cycle.id, cycles=CYCLES, most=most)
    return make_cases(examples, held_back_share)


def _make_case(example: Example) -> Case:
    g = example.generation
    return Case(g.id, g.cluster, truth(g.output, example.feedback))


def _is_held_back(generation: Generation, share: float) -> bool:
    key = split_key(generation.tenant, generation.session, generation.user, generation.id)
    return split_of(key, share) == "held_back"
