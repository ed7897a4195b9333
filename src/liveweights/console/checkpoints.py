"""Pages of checkpoints: all of a model's base, and one with its scorecard and ancestors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from liveweights.console.cursor import PARAM, ROWS, cut_page, read_moment, write_moment
from liveweights.console.path import Station, read_path
from liveweights.console.subject import Asked, Subject, missing
from liveweights.gate.statistics import wilson
from liveweights.release.facts import COLUMNS, Facts, list_facts
from liveweights.release.page import to_markdown
from liveweights.release.scorecard import Scorecard, read_scorecard
from liveweights.store.database import Connection
from liveweights.weights.registry import NotRegistered

ANCESTORS = 12
"""That are shown, nearest first."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint, what it is now (``live``, ``canary``, ``pruned`` or nothing), and what users
    took of its answers, ever; ``low`` and ``high`` are a 95% interval (Wilson's)."""

    id: str
    kind: str
    parent: str | None
    base: str | None
    created_at: datetime
    standing: str
    cycle: int | None
    outcome: str | None
    answers: int
    accepted: int
    rejected: int
    rate: float | None
    low: float
    high: float


class Checkpoints(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list, newest first; ``next`` is where the next one begins, None at the end."""

    model: str
    checkpoints: tuple[Row, ...]
    next: str | None


class Ancestor(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint was made from, and the cycle that made that."""

    id: str
    kind: str
    created_at: datetime
    cycle: int | None
    verdict: str | None


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One checkpoint: the path through it, its scorecard, the same in words, and where it comes
    from."""

    model: str
    id: str
    path: tuple[Station, ...]
    card: Scorecard
    facts: Facts
    columns: tuple[str, ...]
    ancestors: tuple[Ancestor, ...]


LIST = """
with here as (
    select root from ancestry where id = (select live from standing where alias = %(alias)s)
), page as (
    select id, kind, parent, base, created_at, pruned_at from ancestry
    where root in (select root from here) and (
        %(at)s::timestamptz is null or (created_at, id) < (%(at)s, %(id)s))
    order by created_at desc, id desc limit %(count)s
)
select p.id, p.kind, p.parent, p.base, p.created_at,
    case when p.id = s.live then 'live' when p.id = s.canary then 'canary'
        when p.pruned_at is not null then 'pruned' else '' end,
    t.id, t.outcome, coalesce(c.answers, 0), coalesce(c.accepted, 0), coalesce(c.rejected, 0)
from page p
left join standing s on s.alias = %(alias)s
left join lateral (
    -- A later cycle that learnt the same bits again did not make this checkpoint.
    select id, outcome from turns where candidate = p.id order by id limit 1
) t on true
left join lateral (
    select sum(generations)::bigint as answers, sum(accepted)::bigint as accepted,
        sum(rejected)::bigint as rejected
    from counted where whole and width = 1440 and alias = %(alias)s and checkpoint = p.id
) c on true
order by p.created_at desc, p.id desc
"""
COUNTED = (
    "id", "kind", "parent", "base", "created_at", "standing", "cycle", "outcome", "answers",
    "accepted", "rejected",
)  # fmt: skip
"""The columns of ``LIST``."""
CHAIN = """
with recursive chain as (
    select id, kind, created_at, parent, 0 as depth from ancestry where id = %(id)s
    union all
    select a.id, a.kind, a.created_at, a.parent, depth + 1
    from ancestry a join chain on a.id = chain.parent where depth < %(most)s
)
select chain.id, chain.kind, chain.created_at, t.id, t.verdict ->> 'outcome'
from chain left join lateral (
    select id, verdict from turns where candidate = chain.id order by id limit 1
) t on true
where depth > 0 order by depth
"""


def to_text(page: Checkpoint) -> bytes:
    """The scorecard in Markdown."""
    return to_markdown(page.card).encode()


async def read_checkpoints(conn: Connection, subject: Subject, asked: Asked) -> Checkpoints:
    """GET /checkpoints and GET /checkpoints.json"""
    one_more = await list_rows(conn, asked, ROWS + 1)
    shown, following = cut_page(one_more, ROWS, lambda row: write_moment(row.created_at, row.id))
    return Checkpoints(model=asked.model, checkpoints=shown, next=following)


async def list_rows(conn: Connection, asked: Asked, count: int) -> list[Row]:
    """At most ``count`` checkpoints on the model's base, newest first, from where the page that is
    asked for begins. Raises ApiError 400."""
    at, id_ = read_moment(asked.get(PARAM)) or (None, None)
    values = {"alias": asked.model, "at": at, "id": id_, "count": count}
    cursor = await conn.execute(LIST, values)
    return [_row(row) for row in await cursor.fetchall()]


def _row(row: Sequence[Any]) -> Row:
    known = dict(zip(COUNTED, row, strict=True))
    accepted, rejected = known["accepted"], known["rejected"]
    low, high = wilson(accepted, accepted + rejected)
    rate = accepted / (accepted + rejected) if accepted + rejected else None
    return Row(**known, rate=rate, low=low, high=high)


async def read_checkpoint(conn: Connection, subject: Subject, asked: Asked) -> Checkpoint:
    """GET /checkpoints/ID, also with .json or .md. Raises ApiError 404."""
    try:
        card = await read_scorecard(conn, asked.id, subject.rewards)
    except NotRegistered as error:
        raise missing(f"{error}") from None
    model = card.alias if card.alias and card.alias in subject.rewards else asked.model
    cursor = await conn.execute(CHAIN, {"id": asked.id, "most": ANCESTORS})
    names = Ancestor.__struct_fields__
    return Checkpoint(
        model=model,
        id=asked.id,
        path=await read_path(conn, model, asked.id),
        card=card,
        facts=list_facts(card),
        columns=COLUMNS,
        ancestors=tuple(
            Ancestor(**dict(zip(names, row, strict=True))) for row in await cursor.fetchall()
        ),
    )
