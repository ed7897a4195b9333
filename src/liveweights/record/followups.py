"""Chat answers and what the same session asked next: a reaction that nobody had to send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from liveweights.record.feedback import Mood
from liveweights.record.holds import hold
from liveweights.record.readable import READABLE, Readable
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of

# The next request of a session; of several at the same time, as imports have them, each is the next
# of but one. Whether it goes on with the same conversation is for the reader of its tokens to see;
# tokens of another base are not of the same conversation.
NEXT = """
select n.prompt_ids, n.created_at from generations n
where n.tenant = g.tenant and n.session = g.session and n.alias = g.alias
  and n.endpoint = 'chat' and n.consent and (n.created_at, n.id) > (g.created_at, g.id)
  and (select root from ancestry where id = n.checkpoint) is not distinct from
      (select root from ancestry where id = g.checkpoint)
order by n.created_at, n.id limit 1
"""

READ = f"""
select distinct on (g.id) g.id, n.prompt_ids
from seals s join cycle_rows r on r.cycle = s.cycle
join generations g on g.day = r.day and g.id = r.generation
cross join lateral ({NEXT}) n
where s.cycle = %s and g.endpoint = 'chat' and g.session is not null
  and n.created_at <= s.claimed_at
"""

# The answer before a request, as `NEXT` has it the other way round.
PREVIOUS = """
select g.id, g.day, (select root from ancestry where id = g.checkpoint) as root,
    g.output <> '' as says
from generations g
where g.tenant = n.tenant and g.session = n.session and g.alias = n.alias
  and g.endpoint = 'chat' and g.consent and (g.created_at, g.id) < (n.created_at, n.id)
  and (select root from ancestry where id = g.checkpoint) is not distinct from
      (select root from ancestry where id = n.checkpoint)
order by g.created_at desc, g.id desc limit 1
"""

# Requests page by page, each with the answer before it where that was not heard yet. The end of
# that one's prompt is for the reader to compare: a template may not repeat all of it. Behind it
# stand the answer's text and the next message, where it is the same conversation. Prompts are
# long, and most requests were heard before: theirs are not read.
UNHEARD = f"""
with n as materialized (
    select day, id, created_at, tenant, session, alias, checkpoint from generations
    where alias = %(model)s and endpoint = 'chat' and session is not null and consent
      and (created_at, id) > (%(at)s, %(id)s)
    order by created_at, id limit %(most)s
), pairs as materialized (
    select n.created_at, n.id, n.day, before.id as answer, before.day as answered, before.root
    from n left join lateral (
        select g.id, g.day, g.root from ({PREVIOUS}) g
        where g.says
          and not exists (
              select from feedback f
              where f.day = g.day and f.generation = g.id and f.signal <> 'shown')
          and not exists (
              select from follow_ups h
              where h.day = g.day and h.generation = g.id and h.classifier = %(classifier)s)
    ) before on true
)
select pairs.created_at, pairs.id, answer, root, asked, rest
from pairs left join lateral (
    select g.prompt_ids[shared + 1:] as asked,
        case when n.prompt_ids[1:shared] = g.prompt_ids[1:shared]
            then n.prompt_ids[shared + 1:] end as rest
    from generations g, generations n, lateral (
        select greatest(cardinality(g.prompt_ids) - %(last)s, 0) as shared) compared
    where g.day = answered and g.id = answer and n.day = pairs.day and n.id = pairs.id
    limit 1
) tokens on true
order by pairs.created_at, pairs.id
"""


def _keep(lock: LiteralString) -> LiteralString:
    """What is being forgotten is not kept, and the reverse: see `hold`."""
    return f"""
with kept as materialized (
    select g.day, g.id, heard.at, heard.mood
    from unnest(%(days)s::date[], %(ids)s::text[], %(times)s::timestamptz[], %(moods)s::text[])
        as heard (day, id, at, mood)
    join generations g on g.day = heard.day and g.id = heard.id
    where g.day = any(%(days)s::date[])
    order by g.day, g.id
    {lock}
)
insert into follow_ups (day, generation, at, mood, classifier)
select day, id, at, mood, %(classifier)s from kept
on conflict (day, generation) do update
set at = excluded.at, mood = excluded.mood, classifier = excluded.classifier
"""


COUNT = f"""
select count(*) from (
    select from generations g
    where {READABLE} and g.endpoint = 'chat' and g.session is not null
      and g.created_at > %(moment)s
      and exists (
          select from generations e
          where e.tenant = g.tenant and e.session = g.session and e.alias = g.alias
            and e.endpoint = 'chat' and e.consent and e.created_at < g.created_at
            and e.checkpoint <> all(%(foreign)s::text[])
      )
    limit %(most)s
) counted
"""


async def read_follow_ups(conn: Connection, cycle: int) -> dict[str, list[int]]:
    """For each chat answer that the cycle claimed and whose session had gone on by then: the token
    ids of the next request's prompt."""
    cursor = await conn.execute(READ.encode(), (cycle,))
    return dict(await cursor.fetchall())


async def count_follow_ups(
    conn: Connection, readable: Readable, moment: datetime, *, most: int
) -> int:
    """Requests since ``moment`` that came after another one of their chat session; from ``most``
    on they are not counted further."""
    values = {**readable.parameters(), "moment": moment, "most": most}
    cursor = await conn.execute(COUNT, values)
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


@dataclass(frozen=True, slots=True)
class Unheard:
    """A request ``id`` that came ``at`` that time after a chat ``answer`` on the base ``root``:
    the last tokens of what was ``asked`` then, and all that its own prompt has from there on; None
    where what is before these is not the same."""

    at: datetime
    id: str
    answer: str
    root: str | None
    asked: list[int]
    rest: list[int] | None


@dataclass(frozen=True, slots=True)
class Page:
    """What was not heard among requests up to the one that was ``asked`` then and has that id; None
    where they are the last."""

    unheard: list[Unheard]
    asked: tuple[datetime, str] | None


async def find_unheard(
    conn: Connection,
    model: str,
    classifier: str,
    after: tuple[datetime, str],
    *,
    most: int,
    last: int,
) -> Page:
    """Of the next ``most`` requests to the model, by time and id, those that went on from an answer
    to which nobody reacted otherwise, and which the classifier has not read, oldest first, with the
    ``last`` tokens of what was asked before. Both may be learnt from."""
    values = {"model": model, "classifier": classifier, "most": most}
    values |= {"at": after[0], "id": after[1], "last": last}
    cursor = await conn.execute(UNHEARD.encode(), values)
    rows = await cursor.fetchall()
    end = (rows[-1][0], rows[-1][1]) if len(rows) == most else None
    return Page([Unheard(*row) for row in rows if row[2] is not None], end)


async def keep_moods(
    conn: Connection, heard: Sequence[tuple[Unheard, Mood]], classifier: str
) -> None:
    """Note what the classifier said of each, in the caller's transaction."""
    values = {
        "days": [day_of(one.answer) for one, _ in heard],
        "ids": [one.answer for one, _ in heard],
        "times": [one.at for one, _ in heard],
        "moods": [mood for _, mood in heard],
        "classifier": classifier,
    }
    await conn.execute(_keep(await hold(conn)), values)
