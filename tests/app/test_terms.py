"""Rules of use where models are loaded, and what is followed of how they do."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from tests.scoreboard.examples import results, run
from tests.serve.api.doubles import BASE, ScriptedEngine, make_tokenizer

from liveweights.app.place import Place
from liveweights.app.profiles import Known, read_known
from liveweights.app.start import CannotStart
from liveweights.app.terms import Lookout, check_closed, describe, find_closed, make_terms
from liveweights.config import Config
from liveweights.meter.money import NANOS
from liveweights.meter.price_book import PriceBook
from liveweights.meter.prices import PriceRow
from liveweights.meter.tariffs import Tariffs
from liveweights.scoreboard.rows import keep_results, open_run
from liveweights.serve.api.profile import VerdictTold
from liveweights.serve.models import make_model
from liveweights.serve.router import Router
from liveweights.store.database import open_pool
from liveweights.terms.decision import Match, Override
from liveweights.terms.facts import unknown_facts
from liveweights.terms.roster import NoModelFits
from liveweights.terms.route import Route
from liveweights.terms.rows import add_override, read_denials

RULE = {
    "name": "not-here",
    "when": ["load"],
    "on": {"country": ["US"]},
    "then": "deny",
    "reason": "not in this house",
}
CONFIG = msgspec.convert(
    {
        "models": {"code": {}, "other": {"base": "./no-such-model"}},
        "terms": [RULE],
    },
    Config,
)


@pytest.fixture(scope="module")
def known() -> dict[str, Known]:
    return read_known(CONFIG, Path("/nowhere"))


def close(dsn: str, known: dict[str, Known]) -> dict[str, Match]:
    async def ask() -> dict[str, Match]:
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            return await find_closed(conn, CONFIG, known)

    return asyncio.run(ask())


def test_a_denied_model_is_not_loaded_and_that_is_a_row(
    database_dsn: str, known: dict[str, Known], caplog: pytest.LogCaptureFixture
) -> None:
    closed = close(database_dsn, known)
    assert list(closed) == ["code"]

    async def look() -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            rows = [(d.model, d.action, d.rule) for d in await read_denials(conn)]
            override = Override(model="code", rule="not-here", who="a", why="b", until=date.max)
            await add_override(conn, override)
            return rows

    assert asyncio.run(look()) == [("code", "load", "not-here")]
    check_closed(CONFIG, closed)
    assert "'code' is not loaded: not in this house (country US). The rule is" in caplog.text
    assert close(database_dsn, known) == {}


def test_a_service_without_any_model_left_does_not_start() -> None:
    match = Match(rule="r", source="settings", then="deny", reason="so")
    with pytest.raises(CannotStart, match="No model of this service may be loaded"):
        check_closed(CONFIG, {"code": match, "other": match})
    assert "liveweights terms override code r --action load" in describe("code", match)


def test_its_processes_are_told_which(tmp_path: Path, known: dict[str, Known]) -> None:
    match = Match(rule="r", source="settings", then="deny", reason="so", because=("x",))
    place = Place(CONFIG, tmp_path, "dsn", "key", {"code": match}, known)
    there = Place.decode(place.encode())
    assert there == place
    assert Place.decode(Place(CONFIG, tmp_path, "dsn").encode()).known is None
    assert [one.alias for one in there.list_models()] == ["other"]
    far = msgspec.convert({"models": {"far": {"upstream": "http://a.example"}}}, Config)
    assert Place(far, tmp_path, "", closed={"far": match}).list_hosted() == []


VERDICT = {
    "outcome": "PASS",
    "reasons": ["better"],
    "evidence": {"suites": [{"suite": "tests", "difference": {"candidate": 0.75}}]},
}


def test_what_suites_say_is_what_routes_go_by(database_dsn: str, known: dict[str, Known]) -> None:
    async def play() -> None:
        pool = await open_pool(database_dsn)
        async with pool.connection() as conn:
            await conn.execute(
                "insert into checkpoints (id, kind, folder, card)"
                " values ('base@000000000000', 'base', '/nowhere', '{}')"
            )
            await conn.execute(
                "insert into aliases (name, live) values ('code', 'base@000000000000')"
            )
            await conn.execute(
                "insert into cycles (alias, state, incumbent, candidate, settings, outcome,"
                " ended_at, verdict) values ('code', 'ended', 'base@000000000000',"
                " 'base@000000000000', '{}', 'promoted', now(), %s)",
                (msgspec.json.encode(VERDICT).decode(),),
            )
        terms = make_terms(CONFIG, known)
        lookout = Lookout(pool, terms)
        lookout.follow(known, {}, {})
        await lookout.look()
        await pool.close()
        told = lookout.standings["code"].verdict
        assert told is not None
        assert told == VerdictTold(cycle=told.cycle, outcome="PASS", reasons=("better",))
        scores = {one.name: one.scores for one in terms.roster._candidates}
        assert scores == {"code": {"tests": 0.75}, "other": {}}

    asyncio.run(play())


def test_terms_hear_of_models_that_come_and_go(
    database_dsn: str, known: dict[str, Known], tmp_path: Path
) -> None:
    far = {"upstream": "http://a.example", "fallback": ["code", "late"]}
    more = read_known(msgspec.convert({"models": {"far": far, "code": {}}}, Config), tmp_path)
    match = Match(rule="r", source="settings", then="deny", reason="so")

    async def play() -> None:
        pool = await open_pool(database_dsn)
        lookout = Lookout(pool, make_terms(Config(), {}))
        terms = lookout.terms
        lookout.follow(more, {}, {})
        assert lookout.profiles.keys() == more.keys()
        # One that is not there yet cannot answer in its place.
        assert terms.choose("far", None) == ("far", "code")
        await lookout.look()
        assert terms.choose("far", None) == ("far", "code")
        lookout.follow(known, {}, {"other": match})
        assert "far" not in terms.roster
        assert terms.choose("auto", None) == ("code",)
        with pytest.raises(NoModelFits, match="not loaded: so"):
            terms.choose("other", None)
        await pool.close()

    asyncio.run(play())


def test_routes_go_by_the_prices_that_hold_for_everybody(
    database_dsn: str, known: dict[str, Known]
) -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)

    def price(model: str, input: int, **more: Any) -> PriceRow:
        return PriceRow(since=since, model=model, input=input * NANOS, output=NANOS, **more)

    async def play() -> None:
        pool = await open_pool(database_dsn)
        book = PriceBook(
            [
                price("code", 3), price("code", 1, tenant="acme"), price("other", 2),
                price("euro", 1, currency="EUR"),
            ]
        )  # fmt: skip
        lookout = Lookout(pool, make_terms(CONFIG, {}), Tariffs(pool, book))
        euro = replace(known["other"].candidate, facts=unknown_facts("euro"))
        lookout.follow({**known, "euro": replace(known["other"], candidate=euro)}, {}, {})
        terms = lookout.terms
        assert terms.choose("auto", "acme") == ("other", "code", "euro")
        with pytest.raises(NoModelFits, match="price of prompts is not known"):
            terms.choose("euro", None, Route(max_price=9.0))
        await pool.close()

    asyncio.run(play())


def test_a_denial_that_is_noted_is_no_row_again(database_dsn: str, known: dict[str, Known]) -> None:
    async def play() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as conn:
            for noted, rows in (((), 1), (["code"], 1), ((), 2)):
                assert list(await find_closed(conn, CONFIG, known, noted=noted)) == ["code"]
                assert len(await read_denials(conn)) == rows

    asyncio.run(play())


def test_routes_go_by_the_scoreboard_as_long_as_the_checkpoint_is_live(
    database_dsn: str, known: dict[str, Known]
) -> None:
    tokenizer, router = make_tokenizer(), Router()
    router.set("code", BASE)
    local = {"code": make_model(ScriptedEngine(tokenizer, "a"), router, tokenizer)}

    async def play() -> None:
        pool = await open_pool(database_dsn)
        async with pool.connection() as conn:
            for one, score in ((run("code", BASE), 0.5), (run("other", None), 1.0)):
                await keep_results(conn, await open_run(conn, one), results([score] * 4))
        lookout = Lookout(pool, make_terms(CONFIG, known))
        lookout.follow(known, local, {})
        route = Route(suite="letters", min_score=0.6)
        with pytest.raises(NoModelFits, match="has no score on letters"):
            lookout.terms.choose("auto", None, route)
        await lookout.look()
        assert lookout.terms.choose("auto", None, route) == ("other",)
        with pytest.raises(NoModelFits, match=r"its score on letters is 0\.5"):
            lookout.terms.choose("code", None, route)
        router.set("code", "code@000000000000")
        await lookout.look()
        with pytest.raises(NoModelFits, match="has no score on letters"):
            lookout.terms.choose("code", None, route)
        # It is live, scored and taken back: what was live before has its score still.
        async with pool.connection() as conn:
            taken = run("code", "code@000000000000")
            await keep_results(conn, await open_run(conn, taken), results([1.0] * 4))
        await lookout.look()
        assert lookout.terms.choose("code", None, route) == ("code",)
        router.set("code", BASE)
        await lookout.look()
        with pytest.raises(NoModelFits, match=r"its score on letters is 0\.5"):
            lookout.terms.choose("code", None, route)
        await pool.close()

    asyncio.run(play())
