"""What a cycle reads: claimed once, then read the same however often the cycle is resumed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import LiteralString

from liveweights.record.bases import read_owned
from liveweights.record.example import Example
from liveweights.record.examples import WHOLE, WITHOUT_EXPERTS, select_examples
from liveweights.record.generation import Surface
from liveweights.record.holds import hold
from liveweights.record.readable import READABLE, TENANT, read_branch, read_readable
from liveweights.record.split import Split, split_key, split_of
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of


@dataclass(frozen=True, slots=True)
class Claim:
    """How many generations a cycle learns from and how many it is judged on. ``left`` had no room
    among the first, and no cycle has tried them: `MOST_LEFT` are counted at most."""

    train: int
    held_back: int
    left: int = 0

    @property
    def total(self) -> int:
        return self.train + self.held_back


MOST_LEFT = 100_000

MayLearn = Callable[[str, str, str | None], bool]
"""Whether what a model (by its alias) answered to a tenant may be learnt from."""


def may_learn_all(alias: str, tenant: str, base: str | None) -> bool:
    """Everything may be."""
    return True


class UnknownCycle(LookupError):
    """There is no such cycle for that alias."""


# That an answer was shown says nothing of it. A broken-off answer without text is not silence:
# nobody knows what it would have said. Of a teacher's answers those count that users took, each
# once for each model that learns from them.
CANDIDATES = f"""
with unread as (
    select k.day, k.generation, max(k.received_at) as arrived
    from feedback_keys k
    join feedback f on f.day = k.day and f.generation = k.generation and f.seq = k.seq
    where f.signal <> 'shown' and not exists (
        select from consumed
        where consumed.feedback = k.seq and consumed.cycle <> all(%(before)s::bigint[])
          and consumed.tenant is not distinct from %(tenant)s::text)
    group by k.day, k.generation
), candidates as (
    select g.id, g.alias, g.tenant, g.session, g.user_id, g.checkpoint, u.arrived
    from unread u join generations g on g.day = u.day and g.id = u.generation
    where g.alias = %(model)s and g.consent and g.checkpoint <> all(%(strange)s::text[])
        and {TENANT}
    union all
    select g.id, g.alias, g.tenant, g.session, g.user_id, g.checkpoint, g.created_at
    from generations g
    where {READABLE}
      and g.output = '' and g.finish_reason not in ('cancelled', 'error')
      and g.selection is null
      and not exists (
          select from feedback f
          where f.day = g.day and f.generation = g.id and f.signal <> 'shown')
      and not exists (
          select from consumed where consumed.generation = g.id
            and consumed.tenant is not distinct from %(tenant)s::text)
    union all
    select g.id, g.alias, g.tenant, g.session, g.user_id, g.checkpoint, h.at
    from follow_ups h join generations g on g.day = h.day and g.id = h.generation
    where {READABLE} and h.mood <> 'neutral'
      and not exists (
          select from feedback f
          where f.day = g.day and f.generation = g.id and f.signal <> 'shown')
      and not exists (
          select from consumed where consumed.generation = g.id
            and consumed.tenant is not distinct from %(tenant)s::text)
    union all
    select g.id, g.alias, g.tenant, g.session, g.user_id, g.checkpoint, max(k.received_at)
    from feedback_keys k join generations g on g.day = k.day and g.id = k.generation
    where g.alias = %(teacher)s::text and g.consent and {TENANT}
      and g.output <> '' and g.finish_reason = 'stop'
      and exists (
          select from outcomes o
          where o.day = g.day and o.generation = g.id
            and (o.value_micros > 0 or o.accepted_micros > o.rejected_micros))
      and not exists (
          select from consumed join turns on turns.id = consumed.cycle
          where consumed.generation = g.id and turns.alias = %(alias)s)
    group by g.id, g.alias, g.tenant, g.session, g.user_id, g.checkpoint
)
select candidates.id, alias, candidates.tenant, session, user_id, ancestry.root, exists (
    select from cycle_rows r join turns c on c.id = r.cycle
    where r.generation = candidates.id
        and c.tenant is not distinct from %(tenant)s::text
        and (coalesce(c.outcome, '') not in ('promoted', 'restarted') or c.withdrawn_at is not null)
) as tried
from candidates left join ancestry on ancestry.id = candidates.checkpoint
order by tried, arrived desc, candidates.id
"""


def _insert(lock: LiteralString) -> LiteralString:
    """What is being forgotten is not claimed, and the reverse: see `hold`."""
    return f"""
with kept as materialized (
    select g.day, g.id, chosen.split
    from unnest(%(days)s::date[], %(ids)s::text[], %(splits)s::text[]) as chosen (day, id, split)
    join generations g on g.day = chosen.day and g.id = chosen.id
    where g.day = any(%(days)s::date[])
    order by g.day, g.id
    {lock}
)
insert into cycle_rows (cycle, generation, feedback, split)
select %(cycle)s, kept.id, f.seq, kept.split
from kept left join feedback f on f.day = kept.day and f.generation = kept.id
"""


# Before rows of it can be archived or forgotten.
SEAL = """
insert into seals (cycle, trained, held_back, leaves)
select %(cycle)s,
    count(distinct r.generation) filter (where r.split = 'train'),
    count(distinct r.generation) filter (where r.split = 'held_back'),
    coalesce(array_agg(leaf order by leaf) filter (where leaf is not null), '{}')
from cycle_rows r left join lateral (
    select reaction_leaf(f.tenant, f.generation, f.id) as leaf from feedback f
    where f.day = any(%(days)s) and f.day = r.day and f.generation = r.generation
      and f.seq = r.feedback
) named on true
where r.cycle = %(cycle)s
on conflict (cycle) do update set trained = excluded.trained,
    held_back = excluded.held_back, leaves = excluded.leaves
"""

# What was heard is claimed with it, also where the clock of who recorded it is ahead.
CLAIMED = """
update seals set claimed_at = greatest(now(), (
    select max(h.at) from cycle_rows r
    join follow_ups h on h.day = r.day and h.generation = r.generation
    where r.cycle = %(cycle)s))
where cycle = %(cycle)s
"""

HELD_BACK = """
select r.day, r.generation
from cycle_rows r join generations g on g.day = r.day and g.id = r.generation join (
    select c.id from turns c join ancestry i on i.id = c.incumbent
    where c.alias = %(alias)s and c.id <= %(cycle)s and i.root = (
        select i.root from turns c join ancestry i on i.id = c.incumbent
        where c.id = %(cycle)s)
    order by c.id desc limit %(cycles)s
) last on last.id = r.cycle
where r.split = 'held_back'
    and (%(endpoint)s::text is null or g.endpoint = %(endpoint)s)
group by r.day, r.generation
having not bool_or(r.left_out)
order by max(r.cycle) desc, r.generation desc
limit %(most)s
"""

# Newest first, and a few times as many as are wanted: which side of the split a session is on is
# known outside.
UNJUDGED = f"""
select g.day, g.id from generations g
where {READABLE} and g.endpoint = 'completion'
    and g.created_at < %(before)s
    and not exists (
        select from feedback f where f.day = g.day and f.generation = g.id and f.signal <> 'shown')
order by g.created_at desc limit %(most)s
"""

# A vote that was left out makes nobody known, nor does one that this cycle reads again.
EARLIER = """
with voters as (
    select distinct g.tenant, g.user_id
    from cycle_rows r join generations g on g.day = r.day and g.id = r.generation
    where r.cycle = %(cycle)s and g.user_id is not null and %(tenants)s::text[] is null
    union
    select tenant, user_id
    from unnest(%(tenants)s::text[], %(users)s::text[]) as named (tenant, user_id)
)
select v.tenant, v.user_id, votes.count
from voters v cross join lateral (
    select count(*) from (
        select distinct coalesce((
            select f.episode from feedback f
            where f.day = g.day and f.generation = g.id and f.episode is not null
            order by f.seq desc limit 1), g.id)
        from generations g
        where g.tenant = v.tenant and g.user_id = v.user_id and g.alias = %(model)s
          and exists (
              select from cycle_rows r join feedback f
                  on f.day = r.day and f.generation = r.generation and f.seq = r.feedback
              where r.day = g.day and r.generation = g.id and r.cycle < %(cycle)s
                and not r.left_out and f.signal <> 'shown')
          and not exists (
              select from cycle_rows r where r.generation = g.id and r.cycle = %(cycle)s)
        limit %(most)s
    ) voted
) votes
where votes.count > 0
"""

COUNT = """
select count(distinct generation) filter (where split = 'train'),
       count(distinct generation) filter (where split = 'held_back')
from cycle_rows where cycle = %s
"""


async def claim(
    conn: Connection,
    cycle: int,
    alias: str,
    *,
    held_back_share: float,
    max_rows: int,
    max_held_back: int,
    teacher: str | None = None,
    may_learn: MayLearn = may_learn_all,
    onto: str | None = None,
    others: bool = False,
) -> Claim:
    """Choose what ``cycle`` reads, in the caller's transaction.

    These are the consented generations of ``alias`` with feedback (more than that they were shown)
    that no open cycle, and none that made what is live, has read (late feedback brings a generation
    back, with all that is known of it), and without feedback, if none has read them, those in which
    the model chose to say nothing and chat answers after which a message was heard that is not
    neutral. At most ``max_rows`` generations to learn from and ``max_held_back`` to be judged on:
    those last that a cycle has tried in vain, else the newest first, so that where there always is
    more than that, cycles learn from what is served now, and do not fall further and further behind
    it. The rest is left for the next cycle. A session (else a user, else a row) is wholly on one
    side of the split. A cycle that has rows keeps them as they are.

    Cycles of a tenant's branch read that tenant's rows alone, and rows are read by them and by the
    model's own cycles, each for themselves.

    ``teacher`` is another alias: of its answers those that users took are learnt from, on their
    side of the split, and nothing is judged on them. What may not be learnt from stays unread.

    With ``others`` somebody's reactions to answers of other bases are claimed as well: they teach
    in words. ``onto`` is a base that learns in place of the incumbent's: what cycles have read for
    that one is read again.

    Raises UnknownCycle.
    """
    cursor = await conn.execute(
        "select incumbent from turns where id = %s and alias = %s for update", (cycle, alias)
    )
    if (row := await cursor.fetchone()) is None:
        raise UnknownCycle(f"there is no cycle {cycle} of alias {alias!r}")
    if (claimed := await count(conn, cycle)).total:
        return claimed
    readable = await read_readable(conn, alias, onto or row[0])
    before = [] if onto is None else await _read_before(conn, alias, cycle)
    strange = await read_owned(conn, readable.tenant) if others else readable.foreign
    room: dict[Split, int] = {"train": max_rows, "held_back": max_held_back}
    ids: list[str] = []
    splits: list[Split] = []
    left = 0
    async with conn.cursor(name="candidates") as candidates:
        values = {
            **readable.parameters(),
            "alias": alias,
            "strange": strange,
            "teacher": teacher,
            "before": before,
        }
        await candidates.execute(CANDIDATES.encode(), values)
        async for id, model, tenant, session, user, base, tried in candidates:
            split = split_of(split_key(tenant, session, user, id), held_back_share)
            taught = model != readable.model
            if (taught and split == "held_back") or not may_learn(model, tenant, base):
                continue
            if room[split]:
                room[split] -= 1
                ids.append(id)
                splits.append(split)
            elif tried or left == MOST_LEFT:
                if not any(room.values()):
                    break
            elif split == "train":
                left += 1
    days = [day_of(id) for id in ids]
    insert = _insert(await hold(conn))
    await conn.execute(insert, {"cycle": cycle, "days": days, "ids": ids, "splits": splits})
    await conn.execute(SEAL, {"cycle": cycle, "days": days})
    await conn.execute(CLAIMED, {"cycle": cycle})
    return replace(await count(conn, cycle), left=left)


async def _read_before(conn: Connection, alias: str, cycle: int) -> list[int]:
    """The alias's cycles before that one."""
    cursor = await conn.execute("select id from turns where alias = %s and id < %s", (alias, cycle))
    return [id for (id,) in await cursor.fetchall()]


async def copy_claim(conn: Connection, cycle: int, to: int) -> None:
    """Let another cycle have claimed what is left of what ``cycle`` did, when that did, and seal
    it."""
    await conn.execute(
        "insert into cycle_rows (cycle, generation, feedback, split, left_out)"
        " select %s, generation, feedback, split, left_out from cycle_rows where cycle = %s"
        " on conflict do nothing",
        (to, cycle),
    )
    cursor = await conn.execute("select distinct day from cycle_rows where cycle = %s", (to,))
    days = [day for (day,) in await cursor.fetchall()]
    await conn.execute(SEAL, {"cycle": to, "days": days})
    await conn.execute(
        "update seals set claimed_at = s.claimed_at from seals s"
        " where seals.cycle = %s and s.cycle = %s",
        (to, cycle),
    )


async def read_teachers(conn: Connection, cycle: int) -> list[tuple[str, str | None]]:
    """Whose answers the cycle learns from: public names, each with the base that answered; None: of
    no checkpoint here."""
    cursor = await conn.execute(
        "select distinct g.alias, a.root from cycle_rows r"
        " join generations g on g.day = r.day and g.id = r.generation"
        " left join ancestry a on a.id = g.checkpoint"
        " where r.cycle = %s and r.split = 'train' order by 1, 2",
        (cycle,),
    )
    return [(alias, base) for alias, base in await cursor.fetchall()]


async def find_gone(conn: Connection, cycle: int) -> list[date]:
    """The days of answers that the cycle claimed and that are no longer in Postgres."""
    cursor = await conn.execute(
        "select distinct r.day from cycle_rows r where r.cycle = %s and not exists"
        " (select from generations g where g.day = r.day and g.id = r.generation) order by r.day",
        (cycle,),
    )
    return [day for (day,) in await cursor.fetchall()]


async def count(conn: Connection, cycle: int) -> Claim:
    """What the cycle has claimed."""
    cursor = await conn.execute(COUNT, (cycle,))
    row = await cursor.fetchone()
    assert row is not None
    return Claim(train=row[0], held_back=row[1])


async def count_earlier(
    conn: Connection,
    cycle: int,
    alias: str,
    most: int,
    *,
    users: Collection[tuple[str, str]] | None = None,
) -> dict[tuple[str, str], int]:
    """How many answers and episodes of earlier cycles of the alias, ``most`` at most, each of
    ``users`` (tenant, user) reacted to; nobody without any. None: who is named in what the cycle
    claimed."""
    model, _ = await read_branch(conn, alias)
    values = {
        "cycle": cycle,
        "model": model,
        "most": most,
        "tenants": None if users is None else [tenant for tenant, _ in users],
        "users": None if users is None else [user for _, user in users],
    }
    cursor = await conn.execute(EARLIER, values)
    return {(tenant, user): count for tenant, user, count in await cursor.fetchall()}


async def leave_out(conn: Connection, cycle: int, generations: Sequence[str]) -> None:
    """Note whose votes the cycle read and did not count."""
    await conn.execute(
        "update cycle_rows set left_out = generation = any(%s) where cycle = %s",
        (list(generations), cycle),
    )


async def read(conn: Connection, cycle: int, split: Split) -> list[Example]:
    """The claimed rows of one side, oldest generation first; without the experts that served them
    where nothing is learnt from them."""
    cursor = await conn.execute(
        "select distinct day from cycle_rows where cycle = %s and split = %s", (cycle, split)
    )
    values = {"days": [day for (day,) in await cursor.fetchall()], "cycle": cycle, "split": split}
    claimed = "(select day, generation{} from cycle_rows where cycle = %(cycle)s"
    claimed = f"{claimed} and split = %(split)s)"
    return await select_examples(
        conn,
        f"g.day = any(%(days)s) and (f.day, f.generation, f.seq) in {claimed.format(', feedback')}",
        f"g.day = any(%(days)s) and (g.day, g.id) in {claimed.format('')}",
        values,
        instead=WHOLE if split == "train" else WITHOUT_EXPERTS,
    )


async def list_held_back(
    conn: Connection,
    alias: str,
    cycle: int,
    *,
    cycles: int,
    most: int | None = None,
    endpoint: Surface | None = None,
) -> list[tuple[date, str]]:
    """Day and id of what ``cycle`` and those of ``alias`` and the same base before it claimed as
    held back, ``cycles`` in all: at most ``most`` generations, of that endpoint, of the last cycle
    first; none whose votes one of them left out."""
    which = {"alias": alias, "cycle": cycle, "cycles": cycles, "most": most, "endpoint": endpoint}
    return await (await conn.execute(HELD_BACK, which)).fetchall()


async def read_listed(
    conn: Connection, cycle: int, chosen: Sequence[tuple[date, str]]
) -> list[Example]:
    """Those of `list_held_back`, oldest first, with the feedback that was known to ``cycle``."""
    values = {"days": [day for day, _ in chosen], "ids": [id for _, id in chosen], "cycle": cycle}
    return await select_examples(
        conn,
        "g.day = any(%(days)s) and g.id = any(%(ids)s) and exists (select from cycle_rows r"
        " where r.generation = g.id and r.feedback = f.seq and r.cycle <= %(cycle)s)",
        "g.day = any(%(days)s) and g.id = any(%(ids)s)",
        values,
    )


async def read_held_back(
    conn: Connection, alias: str, cycle: int, *, cycles: int, most: int | None = None
) -> list[Example]:
    """What `list_held_back` lists."""
    chosen = await list_held_back(conn, alias, cycle, cycles=cycles, most=most)
    return await read_listed(conn, cycle, chosen)


async def read_unjudged(conn: Connection, alias: str, cycle: int, most: int) -> list[Example]:
    """At most so many of the newest consented completions from before the cycle that nobody reacted
    to: no cycle has learnt from them. Raises UnknownCycle."""
    cursor = await conn.execute(
        "select incumbent, started_at from turns where id = %s and alias = %s", (cycle, alias)
    )
    if (row := await cursor.fetchone()) is None:
        raise UnknownCycle(f"there is no cycle {cycle} of alias {alias!r}")
    readable = await read_readable(conn, alias, row[0])
    which = {**readable.parameters(), "before": row[1], "most": most}
    cursor = await conn.execute(UNJUDGED, which)
    chosen = await cursor.fetchall()
    values = {"days": [day for day, _ in chosen], "ids": [id for _, id in chosen]}
    which = "g.day = any(%(days)s) and g.id = any(%(ids)s)"
    return await select_examples(conn, "false", which, values)
