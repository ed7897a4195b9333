"""The page of any two checkpoints, side by side."""

from __future__ import annotations

import msgspec

from liveweights.console.subject import Asked, Subject, missing
from liveweights.gate.statistics import rate_difference, wilson
from liveweights.release.facts import COLUMNS, Facts, list_facts
from liveweights.release.scorecard import Scorecard, read_scorecard
from liveweights.store.database import Connection
from liveweights.weights.registry import NotRegistered

SIDES = ("left", "right")
CHOICES = 200
"""Checkpoints that are offered by name, the newest; any other one is typed."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two: its scorecard, and what users took of its answers as the model, ever, with a
    95% interval (Wilson's)."""

    id: str
    card: Scorecard
    facts: Facts
    answers: int
    accepted: int
    rejected: int
    rate: float | None
    low: float
    high: float


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Of the shares that were taken, right minus left, with a 95% interval (Newcombe's)."""

    mean: float
    low: float
    high: float


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Both sides; what both were made from (the nearest), and how many steps each is from it.
    ``difference`` is None where one of them was never clicked on. ``tried``: one was the canary of
    the other, so that both answered the same people at the same time, as its scorecard says."""

    left: Side
    right: Side
    ancestor: str | None
    steps: tuple[int, int] | None
    difference: Difference | None
    tried: str | None


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """``compared`` is None until two are chosen; the ``names`` of those that may be."""

    model: str
    left: str
    right: str
    names: tuple[str, ...]
    columns: tuple[str, ...]
    compared: Compared | None


NAMES = """
select a.id from ancestry a
where a.root = (select root from ancestry where id = (
    select live from standing where alias = %(alias)s))
order by a.created_at desc, a.id desc limit %(most)s
"""
COUNTS = """
select coalesce(sum(generations), 0)::bigint, coalesce(sum(accepted), 0)::bigint,
    coalesce(sum(rejected), 0)::bigint
from counted where whole and width = 1440 and alias = %s and checkpoint = %s
"""
NEAREST = """
with recursive ours as (
    select id, coalesce(parent, base) as above, 0 as steps from ancestry where id = %(left)s
    union all
    select a.id, coalesce(a.parent, a.base), steps + 1
    from ancestry a join ours on a.id = ours.above where steps < %(most)s
), theirs as (
    select id, coalesce(parent, base) as above, 0 as steps from ancestry where id = %(right)s
    union all
    select a.id, coalesce(a.parent, a.base), steps + 1
    from ancestry a join theirs on a.id = theirs.above where steps < %(most)s
)
select ours.id, ours.steps, theirs.steps from ours join theirs using (id)
order by ours.steps limit 1
"""
FURTHEST = 2000
"""Steps that are gone back."""


async def read_comparison(conn: Connection, subject: Subject, asked: Asked) -> Comparison:
    """GET /comparison and GET /comparison.json. Raises ApiError 404."""
    cursor = await conn.execute(NAMES, {"alias": asked.model, "most": CHOICES})
    names = tuple(name for (name,) in await cursor.fetchall())
    left, right = (asked.get(side) or "" for side in SIDES)
    compared = None
    if left and right:
        compared = await _compare(conn, subject, asked.model, left, right)
    return Comparison(
        model=asked.model, left=left, right=right, names=names, columns=COLUMNS, compared=compared
    )


async def _compare(
    conn: Connection, subject: Subject, model: str, left: str, right: str
) -> Compared:
    one = await _side(conn, subject, model, left)
    other = await _side(conn, subject, model, right)
    cursor = await conn.execute(NEAREST, {"left": left, "right": right, "most": FURTHEST})
    ancestor, *steps = await cursor.fetchone() or (None, 0, 0)
    return Compared(
        left=one,
        right=other,
        ancestor=ancestor,
        steps=(steps[0], steps[1]) if ancestor else None,
        difference=subtract(one, other),
        tried=next(
            (
                side.id
                for side, beside in ((one, other), (other, one))
                if side.card.incumbent == beside.id and side.card.live
            ),
            None,
        ),
    )


async def _side(conn: Connection, subject: Subject, model: str, name: str) -> Side:
    """Raises ApiError 404."""
    try:
        card = await read_scorecard(conn, name, subject.rewards)
    except NotRegistered as error:
        raise missing(f"{error}") from None
    row = await (await conn.execute(COUNTS, (model, name))).fetchone()
    assert row is not None
    answers, accepted, rejected = row
    low, high = wilson(accepted, accepted + rejected)
    return Side(
        id=name,
        card=card,
        facts=list_facts(card),
        answers=answers,
        accepted=accepted,
        rejected=rejected,
        rate=accepted / (accepted + rejected) if accepted + rejected else None,
        low=low,
        high=high,
    )


def subtract(left: Side, right: Side) -> Difference | None:
    """Right minus left; None where one has no clicks."""
    if left.rate is None or right.rate is None:
        return None
    low, high = rate_difference(
        (right.accepted, left.accepted),
        (right.accepted + right.rejected, left.accepted + left.rejected),
    )
    return Difference(mean=right.rate - left.rate, low=low, high=high)
