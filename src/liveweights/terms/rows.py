"""The tables of what was denied, and of who set which rule aside."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass

from liveweights.store.database import Connection
from liveweights.terms.decision import Decision, Override, Question
from liveweights.terms.rules import Action

DENIAL = """
insert into terms_denials (model, action, tenant, purpose, rule, reason)
values (%s, %s, %s, %s, %s, %s)
"""
OVERRIDE = """
insert into terms_overrides (model, rule, action, tenant, who, why, until)
values (%s, %s, %s, %s, %s, %s, %s) returning number
"""
OVERRIDES = """
select number, at, ended_at, ended_by, model, rule, who, why, until, action, tenant
from terms_overrides
where %(day)s::date is null or (ended_at is null and until >= %(day)s)
order by number
"""


class NoSuchOverride(LookupError):
    """There is no override of that number that is still in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """One row; ``tenant`` None: nobody's in particular."""

    number: int
    at: datetime.datetime
    model: str
    action: Action
    tenant: str | None
    purpose: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One row: an override, since when, and who took it back before it ran out."""

    number: int
    at: datetime.datetime
    ended_at: datetime.datetime | None
    ended_by: str | None
    override: Override


async def add_denials(conn: Connection, denied: Iterable[tuple[str, Question, Decision]]) -> None:
    """A row for each model, what it was wanted for, and what was decided; others than denials are
    left out. In the caller's transaction, or at once in autocommit."""
    rows = [
        (model, asked.action, asked.tenant, asked.purpose, by.rule, str(by))
        for model, asked, decision in denied
        if decision.outcome == "deny" and (by := decision.decided_by) is not None
    ]
    if rows:
        async with conn.cursor() as cursor:
            await cursor.executemany(DENIAL, rows)


async def read_denials(conn: Connection, limit: int | None = None) -> list[Denial]:
    """The newest first."""
    cursor = await conn.execute(
        "select number, at, model, action, tenant, purpose, rule, reason"
        " from terms_denials order by number desc limit %s",
        (limit,),
    )
    names = ("number", "at", "model", "action", "tenant", "purpose", "rule", "reason")
    return [Denial(**dict(zip(names, row, strict=True))) for row in await cursor.fetchall()]


async def add_override(conn: Connection, one: Override) -> int:
    """Its number. In the caller's transaction, or at once in autocommit."""
    values = (one.model, one.rule, one.action, one.tenant, one.who, one.why, one.until)
    row = await (await conn.execute(OVERRIDE, values)).fetchone()
    assert row is not None
    return row[0]


async def end_override(conn: Connection, number: int, who: str) -> str:
    """Take it back; the row stays. The model that it was for. Raises NoSuchOverride."""
    cursor = await conn.execute(
        "update terms_overrides set ended_at = now(), ended_by = %s"
        " where number = %s and ended_at is null returning model",
        (who, number),
    )
    row = await cursor.fetchone()
    if row is None:
        raise NoSuchOverride(f"there is no override {number} that could be taken back")
    return row[0]


async def read_overrides(conn: Connection, day: datetime.date | None = None) -> list[Kept]:
    """Those in force on a day (UTC) that is not before today; None: every one that there was. In
    the order in which they were given."""
    cursor = await conn.execute(OVERRIDES, {"day": day})
    names = ("model", "rule", "who", "why", "until", "action", "tenant")
    return [
        Kept(
            number=row[0],
            at=row[1],
            ended_at=row[2],
            ended_by=row[3],
            override=Override(**dict(zip(names, row[4:], strict=True))),
        )
        for row in await cursor.fetchall()
    ]
