"""What was asked and answered with consent: texts that weights may be fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from liveweights.record.window import MayLearn, may_learn_all
from liveweights.store.database import Connection

# Newest first. Tokens of another base mean nothing to this one.
RECENT = """
select g.id, g.alias, g.tenant, g.prompt_ids, g.output_ids
from generations g join ancestry a on a.id = g.checkpoint
where a.root = %(base)s and g.consent and g.output <> ''
    and g.finish_reason in ('stop', 'length')
    and (%(only)s::text[] is null or g.id = any(%(only)s))
order by g.day desc, g.created_at desc, g.id
"""


@dataclass(frozen=True, slots=True)
class Consented:
    """The tokens of some answers, each after what was asked, and whose they are."""

    ids: list[int]
    generations: tuple[str, ...]


async def read_consented(
    conn: Connection,
    base: str,
    most: int,
    *,
    may_learn: MayLearn = may_learn_all,
    only: Sequence[str] | None = None,
) -> Consented:
    """Up to ``most`` tokens of the newest answers that checkpoints on ``base`` gave to those who
    agreed that it is learnt from; ``only``: of those with these ids, which all are looked for."""
    ids: list[int] = []
    taken: list[str] = []
    async with conn.transaction(), conn.cursor(name="consented") as cursor:
        await cursor.execute(RECENT, {"base": base, "only": None if only is None else [*only]})
        async for id, alias, tenant, prompt_ids, output_ids in cursor:
            if not may_learn(alias, tenant, base):
                continue
            ids += [*prompt_ids, *output_ids]
            taken.append(id)
            if only is None and len(ids) >= most:
                break
    return Consented(ids[:most], tuple(taken))
