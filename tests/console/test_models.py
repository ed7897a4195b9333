"""The pages of models."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
from tests.serve.api.doubles import BASE, NEXT, ScriptedEngine, make_tokenizer

from liveweights.catalog.licences import Duty
from liveweights.console.entry import Entry
from liveweights.console.login import Login
from liveweights.console.models import model_routes
from liveweights.http.application import Application
from liveweights.http.hosts import Hosts
from liveweights.meter.money import NANOS
from liveweights.meter.price_book import PriceBook
from liveweights.meter.prices import PriceRow
from liveweights.meter.tariffs import Tariffs
from liveweights.release.model_facts import COLUMNS, list_model_facts, table_row
from liveweights.serve.api.app import make_authenticator
from liveweights.serve.api.metrics import Metrics
from liveweights.serve.api.models import Listing
from liveweights.serve.api.profile import (
    AcceptRate,
    DataPolicy,
    Latency,
    LicenceTold,
    Pricing,
    Profile,
    Standing,
    VerdictTold,
)
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.hosted.models import HostedModels
from liveweights.serve.models import Models, make_model
from liveweights.serve.router import Router
from liveweights.store.database import open_pool
from liveweights.terms.criteria import Candidate
from liveweights.terms.current import Terms
from liveweights.terms.facts import Facts, Origin
from liveweights.terms.rules import Conditions, Rule
from liveweights.weights.checkpoint import Checkpoint

from .people import enter

KEY = "s3cret-0123456789"
SHOW = Duty(kind="display-name", text="Show <b>Mine</b>.", threshold="always")
PROFILE = Profile(
    base="us/mine",
    maker="us & them",
    country="US",
    licence=LicenceTold(id="MIT", kind="open"),
    duties=(SHOW,),
    pricing=Pricing(input=0.5, output=2, currency="USD", version="list 7"),
    data=DataPolicy(teaches=("tiny",)),
)
STANDING = Standing(
    verdict=VerdictTold(cycle=3, outcome="PASS", reasons=("better", "much")),
    accept_rate=AcceptRate(rate=0.5, low=0.25, high=0.75, judged=12),
    latency=Latency(p50_ms=20, p95_ms=90),
)


def make_listing(name: str = "tiny", tariffs: Tariffs | None = None) -> Listing:
    tokenizer, router = make_tokenizer(), Router()
    router.set(name, BASE, NEXT, 0.25)
    origin = Origin(name="us/mine", licence="MIT", licence_kind="open", duties=(SHOW,))
    young = Rule(name="young", on=Conditions(licence=("MIT",)), then="warn", reason="not tried")
    terms = Terms([Candidate(facts=Facts(name=name, origins=(origin,)))], [young])
    models = Models(make_model(ScriptedEngine(tokenizer), router, tokenizer))
    return Listing(
        models,
        HostedModels(),
        terms,
        profiles={name: PROFILE},
        standings={name: STANDING},
        tariffs=tariffs,
    )


def get(path: str, listing: Listing, key: str | None = KEY, accept: str = "*/*") -> httpx.Response:
    async def go() -> httpx.Response:
        settings = ApiSettings(operator_key=KEY)
        nobody: Any = None  # no session that a database would have to know
        entry = Entry(nobody, make_authenticator(settings), settings)
        routes = model_routes(listing, entry)
        transport = httpx.ASGITransport(Application(routes, Metrics(), Hosts(())))
        async with httpx.AsyncClient(transport=transport, base_url="http://here:8090") as client:
            headers = {"accept": accept} | ({"authorization": f"Bearer {key}"} if key else {})
            return await client.get(path, headers=headers)

    return asyncio.run(go())


def test_a_page_says_all_that_is_known() -> None:
    page = get("/models/tiny", make_listing())
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    for text in (
        *("<h1>tiny</h1>", "us &amp; them", "MIT (open)", "Show &lt;b&gt;Mine&lt;/b&gt;. [always]"),
        *("young: not tried", "0.5 USD in, 2 USD out (list 7)", "50% [25%, 75%] of 12"),
        *("PASS, cycle 3: better; much", "20 ms, 90 ms (p95)", "stays on this machine"),
        *(f"{NEXT}, 25% of the sessions", "512 tokens", 'href="/releases?model=tiny"'),
    ):
        assert text in page.text, text
    assert "<b>Mine" not in page.text


def test_all_are_in_one_table_with_their_pages() -> None:
    page = get("/models", make_listing("org/tiny"))
    assert '<a href="/models/org/tiny">org/tiny</a>' in page.text
    assert page.text.count('<th scope="col">') == len(COLUMNS)
    assert get("/models/org/tiny", make_listing("org/tiny")).status_code == 200


def test_the_price_is_the_ledgers_for_whoever_asks() -> None:
    row = PriceRow(id=3, since=datetime(2026, 11, 1, tzinfo=UTC), model="tiny", input=NANOS)
    book = PriceBook([row, replace(row, id=4, tenant="acme", input=NANOS // 2)])
    pool: Any = None  # nothing is read anew
    listing = make_listing(tariffs=Tariffs(pool, book))
    told = listing.find("tiny").pricing
    assert told is not None
    assert (told.input, told.version) == (1.0, "price 3")
    own = listing.find("tiny", "acme").pricing
    assert own is not None
    assert (own.input, own.version) == (0.5, "price 4")
    page = get("/models/tiny", listing).text
    assert "1 USD in, 0 USD out (price 3, since 2026-11-01T00:00:00+00:00)" in page


def test_users_of_a_tenant_are_told_what_it_is_told(database_dsn: str) -> None:
    tokenizer, router = make_tokenizer(), Router()
    router.set("tiny", BASE)
    router.set("veiled", BASE)
    router.resident([BASE, NEXT])
    router.introduce(Checkpoint(NEXT, "adapter", Path("/"), BASE), tenant="bolt")
    row = PriceRow(id=3, since=datetime(2026, 11, 1, tzinfo=UTC), model="tiny", input=NANOS)
    nothing: Any = None  # nothing is read anew
    listing = Listing(
        Models(make_model(ScriptedEngine(tokenizer), router, tokenizer)),
        HostedModels(),
        Terms(),
        profiles={"veiled": msgspec.structs.replace(PROFILE, visible=False)},
        tariffs=Tariffs(nothing, PriceBook([row, replace(row, id=4, tenant="acme", input=2)])),
    )

    async def go() -> None:
        pool = await open_pool(database_dsn)
        settings = ApiSettings(operator_key=KEY)
        entry = Entry(pool, make_authenticator(settings), settings)
        routes = [*Login(entry).routes(), *model_routes(listing, entry)]
        transport = httpx.ASGITransport(Application(routes, Metrics(), Hosts(())))
        async with httpx.AsyncClient(transport=transport, base_url="http://here:8090") as client:
            await enter(client, pool, "root", "admin")
            assert "veiled" in (await client.get("/models")).text
            assert "(price 3," in (await client.get("/models/tiny")).text
            assert (await client.get(f"/models/{NEXT}")).status_code == 200
            for tenant, status in (("acme", 404), ("bolt", 200)):
                await enter(client, pool, tenant, "viewer", tenant)
                page = (await client.get("/models")).text
                assert ("tiny" in page, "veiled" in page) == (True, False)
                assert (await client.get(f"/models/{NEXT}")).status_code == status
                assert "/releases" not in (await client.get("/models/tiny")).text
                price = 4 if tenant == "acme" else 3
                assert f"(price {price}," in (await client.get("/models/tiny")).text
        await pool.close()

    asyncio.run(go())


def test_they_are_for_the_operator() -> None:
    for path in ("/models", "/models/tiny"):
        assert get(path, make_listing(), key=None).status_code == 401
        assert get(path, make_listing(), key="wrong").status_code == 401
    missing = get("/models/none", make_listing())
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/json")


def test_a_browser_is_told_on_a_page_that_there_is_none() -> None:
    page = get("/models/none", make_listing(), accept="text/html")
    assert (page.status_code, page.headers["content-type"][:9]) == (404, "text/html")
    assert "<h1>That is not here</h1>" in page.text


def test_what_is_not_known_is_said_to_be_so() -> None:
    tokenizer, router = make_tokenizer(), Router()
    router.set("tiny", BASE)
    models = Models(make_model(ScriptedEngine(tokenizer), router, tokenizer))
    (model,) = Listing(models, HostedModels(), Terms()).read()
    facts = dict(list_model_facts(model))
    assert facts["maker"] == facts["licence"] == facts["price of a million tokens"] == "unknown"
    assert facts["accepted"] == facts["last verdict"] == "-"
    assert len(table_row(model)) == len(COLUMNS)


def test_one_that_is_not_visible_is_listed_for_the_operator_alone() -> None:
    hidden = msgspec.structs.replace(PROFILE, visible=False)
    tokenizer, router = make_tokenizer(), Router()
    router.set("tiny", BASE)
    models = Models(make_model(ScriptedEngine(tokenizer), router, tokenizer))
    listing = Listing(models, HostedModels(), Terms(), profiles={"tiny": hidden})
    assert listing.read("acme") == []
    (model,) = listing.read()
    assert listing.find("tiny", "acme").id == "tiny"
    assert dict(list_model_facts(model))["listed"] == "no: it answers those who name it"
    assert dict(list_model_facts(listing.find("tiny")))["answers"] == BASE
