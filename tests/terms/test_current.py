"""What the rules say now, in one process."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from liveweights.store.database import open_pool
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
