"""What the rules say now, in one process."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace as replace_struct

from liveweights.store.database import Connection, Pool, open_pool
from liveweights.terms import current
from liveweights.terms.criteria import Candidate
from liveweights.terms.current import Terms, kept
from liveweights.terms.decision import ALLOWED, Match, Override
from liveweights.terms.facts import Facts, Origin
from liveweights.terms.roster import AUTO, NoModelFits
from liveweights.terms.route import Route
from liveweights.terms.rows import Denial, add_override, end_override, read_denials
from liveweights.terms.rules import Conditions, Rule

NO_ACME = Rule(
    name="no-acme",
    when=("route",),
    on=Conditions(country=("CN",), tenant=("acme",)),
    then="deny",
    reason="agreed",
)
LIFT = Override(model="far", rule="no-acme", who="ada", why="a letter", until=date.max)


def candidate(name: str, country: str, **more: Any) -> Candidate:
    origin = Origin(name=f"o/{name}", country=country, licence="MIT", licence_kind="open")
    return Candidate(facts=Facts(name=name, origins=(origin,)), **more)


def make(**more: Any) -> Terms:
    models = [candidate("far", "CN", fallback=("near",)), candidate("near", "FR", local=True)]
    return Terms(models, [NO_ACME], **more)


def waiting(terms: Terms) -> list[tuple[str, str, str | None, str]]:
    return [
        (model, asked.action, asked.tenant, decision.decided_by.rule)
        for model, asked, decision in terms._denied
        if decision.decided_by is not None
    ]


def test_who_is_denied_a_model_gets_the_next_and_it_is_noted() -> None:
    terms = make()
    assert terms.choose("far", "lab") == ("far", "near")
    assert waiting(terms) == []
    assert terms.choose("far", "acme") == ("near",)
    assert waiting(terms) == [("far", "route", "acme", "no-acme")]
    with pytest.raises(NoModelFits):
        terms.choose("far", "acme", Route(fallback=()))
    assert len(waiting(terms)) == 2
    assert terms.choose(AUTO, "acme") == ("near",)  # nobody asked for the other one
    assert len(waiting(terms)) == 2


def test_what_was_not_loaded_answers_nothing() -> None:
    rule = Match(rule="no-load", source="settings", then="deny", reason="not here")
    terms = make(closed={"far": rule})
    assert terms.choose("far", "lab") == ("near",)
    assert waiting(terms) == [("far", "load", "lab", "no-load")]
    assert terms.choose(AUTO, "lab") == ("near",)
    with pytest.raises(NoModelFits, match=r"terms\.no-load removed far \(not loaded: not here\)"):
        terms.choose("far", "lab", Route(fallback=()))


def test_a_use_is_permitted_or_the_denial_is_noted() -> None:
    terms = make(purposes={"acme": "commercial"})
    asked = terms.ask("route", "acme")
    assert asked.purpose == "commercial"
    assert terms.ask("route", "acme") is asked
    assert terms.permit("near", asked) is None
    match = terms.permit("far", asked)
    assert match is not None
    assert match.rule == "no-acme"
    assert len(waiting(terms)) == 1
    assert terms.decide("nobody's", asked) == ALLOWED
    terms.override([LIFT])
    assert terms.permit("far", asked) is None


def test_models_are_replaced() -> None:
    terms = make()
    before = terms.roster
    terms.replace([candidate("far", "CN", fallback=("near",)), candidate("near", "FR", local=True)])
    assert terms.roster is before
    terms.replace([candidate("far", "FR")])
    assert terms.choose("far", "acme") == ("far",)


async def read_rows(pool: Pool) -> list[str]:
    async with pool.connection() as conn:
        return [one.rule for one in await read_denials(conn)]


def test_a_denial_waits_until_its_row_is_committed(database_dsn: str) -> None:
    async def play() -> None:
        pool, terms = await open_pool(database_dsn), make()
        terms.choose("far", "acme")
        with pytest.raises(psycopg.OperationalError):
            async with pool.connection() as conn, terms.renewed(conn):
                await cut(database_dsn, conn)
        assert len(waiting(terms)) == 1
        async with pool.connection() as conn, terms.renewed(conn):
            terms.choose("far", "acme")
        assert waiting(terms) == []
        assert await read_rows(pool) == ["no-acme"] * 2
        async with pool.connection() as conn:
            await terms.renew(conn)
            with pytest.raises(AssertionError):
                async with terms.renewed(conn):
                    pass
        await pool.close()

    asyncio.run(play())


async def cut(dsn: str, conn: Connection) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as other:
        await other.execute("select pg_terminate_backend(%s)", (conn.info.backend_pid,))


def test_a_database_that_takes_nothing_for_a_while_loses_no_denial(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a failover, for as long as the other server only reads."""
    monkeypatch.setattr(current, "PAUSE", 0.02)

    async def play() -> None:
        terms, pool = make(), await open_pool(database_dsn, max_size=1)
        async with pool.connection() as conn:
            await conn.set_autocommit(True)
            await conn.execute("set default_transaction_read_only = on")
            await conn.set_autocommit(False)
        terms.choose("far", "acme")
        async with asyncio.timeout(20), kept(terms, pool):
            while "read-only transaction" not in caplog.text:
                await asyncio.sleep(0.02)
            assert len(waiting(terms)) == 1
            async with pool.connection() as conn:
                await conn.execute("set default_transaction_read_only = off")
            while not await read_rows(pool):
                await asyncio.sleep(0.02)
            assert waiting(terms) == []
        await pool.close()

    asyncio.run(play())
    assert "Traceback" not in caplog.text


def test_what_nobody_foresaw_is_logged_with_its_traceback_and_ends_nothing(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(current, "PAUSE", 0.02)
    rule = replace_struct(NO_ACME, reason="\0")  # Postgres keeps no text with this

    async def play() -> None:
        terms, pool = Terms([candidate("far", "CN")], [rule]), await open_pool(database_dsn)
        async with asyncio.timeout(20), kept(terms, pool):
            terms.permit("far", terms.ask("route", "acme"))
            while "Traceback" not in caplog.text:
                await asyncio.sleep(0.02)
            async with pool.connection() as conn:
                await add_override(conn, replace(LIFT, rule="no-acme"))
            while terms.decide("far", terms.ask("route", "acme")).outcome == "deny":
                await asyncio.sleep(0.02)
        await pool.close()

    asyncio.run(play())


def test_denials_become_rows_and_overrides_are_heard_of(database_dsn: str) -> None:
    async def play() -> list[Denial]:
        pool = await open_pool(database_dsn)
        terms = make()
        terms.choose("far", "acme")
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            number = await add_override(conn, LIFT)
            yesterday = datetime.now(UTC).date() - timedelta(days=1)
            await add_override(conn, replace(LIFT, until=yesterday))
        async with kept(terms, pool):
            async with asyncio.timeout(60):
                while terms.choose("far", "acme")[0] != "far":
                    await asyncio.sleep(0.02)
            async with pool.connection() as conn:
                await end_override(conn, number, "bob")
                await terms.renew(conn)
            assert terms.choose("far", "acme") == ("near",)
        async with pool.connection() as conn:
            denials = await read_denials(conn)
        await pool.close()
        return denials

    denials = asyncio.run(play())
    assert len(denials) >= 2
    assert {(one.model, one.action, one.tenant, one.rule) for one in denials} == {
        ("far", "route", "acme", "no-acme")
    }
    assert denials[0].reason == "agreed (country CN)"
