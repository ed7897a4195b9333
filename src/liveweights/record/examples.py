"""Answers of the record with all that was said of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import LiteralString

from liveweights.record.columns import FEEDBACK, GENERATION, feedback_from, generation_from
from liveweights.record.example import Example
from liveweights.record.feedback import Feedback
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of

WHOLE: Mapping[str, LiteralString] = MappingProxyType({})
WITHOUT_EXPERTS: Mapping[str, LiteralString] = MappingProxyType({"experts": "null"})
WITHOUT_TOKENS: Mapping[str, LiteralString] = MappingProxyType(
    {
        **WITHOUT_EXPERTS,
        "prompt": "''",
        **dict.fromkeys(("prompt_ids", "output_ids"), "'{}'::int[]"),
        **dict.fromkeys(("logprobs", "raw_logprobs"), "'{}'::real[]"),
        "usage": "jsonb_build_object('prompt_tokens', cardinality(g.prompt_ids),"
        " 'completion_tokens', cardinality(g.output_ids)) || g.usage",
    }
)
"""What is read in place of columns. An agent's prompts grow from step to step: the tokens of one
task may be many millions, and are only counted."""


async def read_examples(conn: Connection, ids: Sequence[str]) -> list[Example]:
    """The answers of these ids, in their order, without their prompts and tokens, whose counts are
    in ``usage``; those that were removed are left out."""
    values = {"days": sorted({day_of(id) for id in ids}), "ids": list(ids)}
    examples = await select_examples(
        conn,
        "f.day = any(%(days)s) and f.generation = any(%(ids)s)",
        "g.day = any(%(days)s) and g.id = any(%(ids)s)",
        values,
        instead=WITHOUT_TOKENS,
    )
    found = {example.generation.id: example for example in examples}
    return [found[id] for id in ids if id in found]


async def select_examples(
    conn: Connection,
    which_feedback: str,
    which_generations: str,
    values: Mapping[str, object],
    *,
    instead: Mapping[str, LiteralString] = WHOLE,
) -> list[Example]:
    """The answers ``g`` of which a condition holds, by time, with the feedback ``f`` of which
    another one does, in the order in which it came. Of a column that is named in ``instead`` that
    is read in its place."""
    columns = ", ".join(f"f.{name}" for name in FEEDBACK)
    cursor = await conn.execute(
        f"select {columns} from feedback f "
        "join generations g on g.day = f.day and g.id = f.generation "
        f"where {which_feedback} order by f.seq".encode(),
        values,
    )
    by_generation: dict[str, list[Feedback]] = {}
    async for row in cursor:
        feedback = feedback_from(row)
        by_generation.setdefault(feedback.generation, []).append(feedback)
    columns = ", ".join(instead.get(name, f"g.{name}") for name in GENERATION)
    cursor = await conn.execute(
        f"select {columns} from generations g where {which_generations} "
        "order by g.created_at, g.id".encode(),
        values,
    )
    generations = [generation_from(row) async for row in cursor]
    return [Example(g, tuple(by_generation.get(g.id, ()))) for g in generations]
