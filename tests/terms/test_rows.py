"""Denials and overrides as rows."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import psycopg
import pytest
from psycopg import errors
from tests.terms.models import DAY

from liveweights.store.database import Connection
from liveweights.terms import rows
from liveweights.terms.decision import Override, Question
from liveweights.terms.evaluation import evaluate
from liveweights.terms.facts import unknown_facts
from liveweights.terms.rules import Rule

T = TypeVar("T")
ROUTE = Question(action="route", day=DAY, tenant="acme", purpose="commercial")
OVER = Override(model="code", rule="no", who="ada", why="contract 17", until=DAY)


def ask(dsn: str, work: Callable[[Connection], Awaitable[T]]) -> T:
    async def run() -> T:
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            return await work(conn)

    return asyncio.run(run())


def test_denials_are_rows_and_nothing_else_is(database_dsn: str) -> None:
    no = Rule(name="no", then="deny", reason="not here")
    denied = evaluate([no], unknown_facts("code"), ROUTE)
    warned = evaluate([], unknown_facts("code"), ROUTE)
    assert (denied.outcome, warned.outcome) == ("deny", "warn")
    nobody = replace(ROUTE, tenant=None, action="load")

    async def work(conn: Connection) -> list[rows.Denial]:
        await rows.add_denials(conn, [])
        wanted = [("code", ROUTE, denied), ("code", ROUTE, warned), ("big", nobody, denied)]
        await rows.add_denials(conn, wanted)
        assert [one.model for one in await rows.read_denials(conn, 1)] == ["big"]
        return await rows.read_denials(conn)

    last, first = ask(database_dsn, work)
    assert (last.model, last.action, last.tenant) == ("big", "load", None)
    assert (first.model, first.action, first.tenant) == ("code", "route", "acme")
    assert (first.purpose, first.rule, first.reason) == ("commercial", "no", "not here")
    assert first.at.tzinfo is not None


def test_overrides_are_in_force_until_their_last_day_or_until_taken_back(database_dsn: str) -> None:
    whole = replace(OVER, action="learn", tenant="acme", until=DAY + datetime.timedelta(days=1))

    async def work(conn: Connection) -> None:
        first, second = await rows.add_override(conn, OVER), await rows.add_override(conn, whole)
        kept = await rows.read_overrides(conn, DAY)
        assert [(one.number, one.override) for one in kept] == [(first, OVER), (second, whole)]
        later = await rows.read_overrides(conn, whole.until)
        assert [one.number for one in later] == [second]
        assert await rows.read_overrides(conn, whole.until + datetime.timedelta(days=1)) == []
        await rows.end_override(conn, second, "bob")
        with pytest.raises(rows.NoSuchOverride, match=f"no override {second} that"):
            await rows.end_override(conn, second, "eve")
        with pytest.raises(rows.NoSuchOverride):
            await rows.end_override(conn, 99, "bob")
        assert [one.number for one in await rows.read_overrides(conn, DAY)] == [first]
        everything = await rows.read_overrides(conn)
        assert [one.ended_by for one in everything] == [None, "bob"]
        assert everything[1].ended_at is not None
        assert everything[1].ended_at >= everything[1].at

    ask(database_dsn, work)


@pytest.mark.parametrize("member", ["who", "why"])
def test_somebody_answers_for_every_override(database_dsn: str, member: str) -> None:
    one = replace(OVER, **{member: ""})
    with pytest.raises(errors.CheckViolation):
        ask(database_dsn, lambda conn: rows.add_override(conn, one))
