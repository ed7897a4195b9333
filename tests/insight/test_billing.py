"""/v1/usage, /v1/costs and the question about revenue, against sums by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import urlencode

import httpx
import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import OpenAI
from openai.types.admin.organization import UsageCompletionsResponse, UsageCostsResponse
from tests.meter.test_ledger import PRICE, add, record, run
from tests.record.rows import make_generation
from tests.serve.api.doubles import Answer
from tests.serve.api.servers import serving
from tests.serve.api.test_openapi import CHECKS

from liveweights.http.application import Application
from liveweights.http.errors import ApiError
from liveweights.http.hosts import Hosts
from liveweights.insight import questions
from liveweights.insight.billing import billing_routes, make_usage, read_page
from liveweights.insight.window import make_window
from liveweights.meter.price_rows import Sold, settle_sold
from liveweights.meter.prices import EPOCH, PriceRow
from liveweights.record.generation import Generation
from liveweights.serve.api.app import create_app, make_authenticator, make_limiter
from liveweights.serve.api.metrics import Metrics
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.models import Models
from liveweights.store.database import Connection, Pool, open_pool

KEY = "key-of-one-012345"
KEYS = ApiSettings(keys={KEY: "one"})
DAY = datetime(2026, 3, 2, tzinfo=UTC)
NOBODY = cast(Any, None)
"""No answer is recorded."""
START = int(DAY.timestamp())


def get(dsn: str, path: str, key: str = "", **query: object) -> Answer:
    answer = Answer()

    async def send(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
        else:
            answer.parts.append(message["body"])

    async def main() -> None:
        pool = await open_pool(dsn)
        routes = billing_routes(pool, make_authenticator(KEYS), make_limiter(KEYS))
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": urlencode(query).encode(),
            "headers": [(b"authorization", f"Bearer {key}".encode())] if key else [],
        }
        await Application(routes, Metrics(), Hosts(()))(scope, None, send)  # type: ignore[arg-type]
        await pool.close()

    asyncio.run(main())
    return answer


def answer(id: str, hours: float, **changes: Any) -> Generation:
    return make_generation(
        id, **{"created_at": DAY + timedelta(hours=hours), "tenant": "one", **changes}
    )


def fill_ledger(dsn: str) -> None:
    add(dsn, replace(PRICE, since=EPOCH))
    add(dsn, PriceRow(since=EPOCH, model="other", currency="EUR", input=10**9))
    add(dsn, PriceRow(since=EPOCH, side="cost", model="live", input=10**8, cached_input=10**8))
    record(
        dsn,
        answer("a", 1, usage={"cached_tokens": 1}),
        answer("b", 2, key="k2"),
        answer("c", 30, alias="other"),
        answer("d", 3, tenant="two"),
    )


def test_a_tenant_sees_what_it_used_and_owes(database_dsn: str) -> None:
    fill_ledger(database_dsn)
    when = {"start_time": START, "end_time": START + 2 * 86_400}
    assert get(database_dsn, "/v1/usage", **when).status == 401
    page = get(database_dsn, "/v1/usage", KEY, **when).json()
    first, second = page["data"]
    assert (page["object"], page["has_more"], page["next_page"]) == ("page", False, None)
    assert (first["start_time"], first["end_time"]) == (START, START + 86_400)
    names = ("input_tokens", "output_tokens", "input_cached_tokens", "num_model_requests")
    (result,) = first["results"]
    assert [result[name] for name in names] == [6, 4, 1, 2]
    assert (result["object"], result["model"]) == ("organization.usage.completions.result", None)
    assert [r["input_tokens"] for r in second["results"]] == [3]

    split = get(database_dsn, "/v1/usage", KEY, group_by="model,api_key_id", **when).json()
    keys = [(r["model"], r["api_key_id"]) for bucket in split["data"] for r in bucket["results"]]
    assert keys == [("live", ""), ("live", "k2"), ("other", "")]

    costs = get(database_dsn, "/v1/costs", KEY, group_by="line_item", **when).json()
    said = [(r["line_item"], r["amount"]) for b in costs["data"] for r in b["results"]]
    assert said == [
        ("live", {"value": 2 * 5500 / 10**9, "currency": "usd"}),
        ("other", {"value": 3000 / 10**9, "currency": "eur"}),
    ]


def test_usage_in_two_currencies_is_one_row(database_dsn: str) -> None:
    fill_ledger(database_dsn)
    record(database_dsn, answer("e", 31))
    when = {"start_time": START + 86_400, "end_time": START + 2 * 86_400}
    ((usage,),) = (b["results"] for b in get(database_dsn, "/v1/usage", KEY, **when).json()["data"])
    assert (usage["num_model_requests"], usage["input_tokens"]) == (2, 6)
    (costs,) = (b["results"] for b in get(database_dsn, "/v1/costs", KEY, **when).json()["data"])
    assert [r["amount"]["currency"] for r in costs] == ["eur", "usd"]


@contextmanager
def served(dsn: str) -> Iterator[str]:
    """An API with both routes, in a thread, with a pool that belongs there; its base URL."""
    pool = Pool(dsn, open=False)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if pool.closed:
            await pool.open()
        await inner(scope, receive, send)

    routes = billing_routes(pool, make_authenticator(KEYS), make_limiter(KEYS))
    inner = create_app(Models(), NOBODY, KEYS, pages=routes)
    with serving(app) as url:
        yield url


def test_openais_client_reads_the_pages(database_dsn: str) -> None:
    fill_ledger(database_dsn)
    when = {"start_time": START, "end_time": START + 2 * 86_400}
    with served(database_dsn) as url, OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        query = {**when, "group_by": "model"}
        usage = client.get("/usage", cast_to=UsageCompletionsResponse, options={"params": query})
        ((first,), (second,)) = (bucket.results for bucket in usage.data)
        assert first.object == "organization.usage.completions.result"
        assert (first.input_tokens, first.num_model_requests, first.model) == (6, 2, "live")
        assert second.object == first.object
        assert second.model == "other"
        costs = client.get("/costs", cast_to=UsageCostsResponse, options={"params": when})
        ((cost,), _) = (bucket.results for bucket in costs.data)
        assert cost.object == "organization.costs.result"
        assert cost.amount is not None
        assert (cost.amount.value, cost.amount.currency) == (2 * 5500 / 10**9, "usd")


def test_the_pages_keep_to_their_description(database_dsn: str) -> None:
    fill_ledger(database_dsn)
    headers = {"Authorization": f"Bearer {KEY}"}
    with served(database_dsn) as url:
        root = url.removesuffix("/v1")
        document = httpx.get(f"{root}/openapi.json", headers=headers).json()
        assert {"/v1/usage", "/v1/costs"} <= document["paths"].keys()
        described = schemathesis.openapi.from_dict(document).include(
            path=["/v1/usage", "/v1/costs"]
        )
        for result in described.get_all_operations():
            operation = result.ok()

            @given(operation.as_strategy())
            @settings(max_examples=15, deadline=None, derandomize=True)
            def keeps(case: schemathesis.Case) -> None:
                case.call_and_validate(base_url=root, headers=headers, checks=list(CHECKS))

            keeps()


def test_what_is_wrong_is_told(database_dsn: str) -> None:
    for query, told in (
        ({"bucket_width": "2h"}, "1m, 1h, 1d"),
        ({"limit": 32}, "from 1 to 31"),
        ({"start_time": "x"}, "seconds since 1970"),
        ({"start_time": 200, "end_time": 100}, "before end_time"),
        ({"group_by": "user_id"}, "model, api_key_id"),
        ({"since": "7d"}, "start_time, end_time"),
    ):
        found = get(database_dsn, "/v1/usage", KEY, **query)
        assert found.status == 400
        assert told in found.error()["message"]
    assert get(database_dsn, "/v1/costs", KEY, bucket_width="1h").status == 400


@given(
    st.sampled_from(["1m", "1h", "1d"]),
    st.integers(0, 10**6),
    st.integers(1, 10**6),
    st.integers(1, 9),
)
def test_pages_follow_each_other(width: str, start: int, span: int, limit: int) -> None:
    """Every bucket once, whatever a page holds."""
    given = {
        "bucket_width": width,
        "start_time": str(start),
        "end_time": str(start + min(span, 50_000)),
        "limit": str(limit),
    }
    starts: list[int] = []
    page: str | None = ""
    while page is not None:
        asked = read_page(given | ({"page": page} if page else {}), costs=False, now=0)
        found = make_usage(asked, [])
        starts += [bucket.start_time for bucket in found.data]
        page = found.next_page
    seconds = {"1m": 60, "1h": 3600, "1d": 86_400}[width]
    first = start - start % seconds
    assert starts == list(range(first, start + min(span, 50_000), seconds))


@pytest.mark.parametrize("width", ["1m", "1h", "1d"])
def test_without_being_asked_a_page_ends_with_now(width: str) -> None:
    page = read_page({"bucket_width": width}, costs=False, now=START + 12_345)
    found = make_usage(page, [])
    assert found.data[-1].end_time == START + 12_345
    assert (len(found.data), found.has_more) == ({"1m": 60, "1h": 24, "1d": 7}[width], False)


def test_a_page_that_is_no_number_is_refused() -> None:
    with pytest.raises(ApiError, match="'page'"):
        read_page({"page": "AAAA"}, costs=False, now=10**9)


def test_what_was_used_costs_something_in_one_currency_only(database_dsn: str) -> None:
    fill_ledger(database_dsn)
    window = make_window("2026-03-01", "2026-03-09", "1d")

    def told(**by: Any) -> list[tuple[str, float | None, str | None]]:
        rows = run(database_dsn, lambda conn: questions.usage(conn, window, **by))
        return [(one.key, one.cost, one.currency) for one in rows]

    ours, theirs = 5500 / 10**9, 3000 / 10**9
    assert told(by="alias") == [("live", 3 * ours, "USD"), ("other", theirs, "EUR")]
    assert told(by="tenant") == [("one", None, None), ("two", ours, "USD")]
    one = replace(window, tenant="one", alias="live")
    (row,) = run(database_dsn, lambda conn: questions.usage(conn, one))
    assert (row.cost, row.currency) == (2 * ours, "USD")
    # A price that was in another currency until before the window.
    add(database_dsn, PriceRow(since=EPOCH, model="late", currency="EUR", input=10**9))
    add(database_dsn, PriceRow(since=EPOCH + timedelta(days=1), model="late", input=10**9))
    record(database_dsn, answer("l", 5, tenant="three", alias="late"))
    assert told(by="tenant")[-1][2] == "USD"
    # A price of the tenant's own, in another currency.
    add(database_dsn, replace(PRICE, since=EPOCH, model="live", tenant="two", currency="EUR"))
    assert told(by="tenant")[1] == ("two", None, None)
    assert told(by="alias")[0] == ("live", None, None)


def test_revenue_cost_and_margin(database_dsn: str) -> None:
    fill_ledger(database_dsn)

    async def settle(conn: Connection) -> None:
        await settle_sold(conn, [Sold(model="live", origin="France", licence="mit")])

    run(database_dsn, settle)
    window = make_window("2026-03-01", "2026-03-09", "1d")
    by_origin = run(database_dsn, lambda conn: questions.revenue(conn, window, by="origin"))
    found = [(row.at.day, row.key, row.currency, row.generations) for row in by_origin]
    assert found == [(2, "France", "USD", 3), (3, "unknown", "EUR", 1)]
    first = by_origin[0]
    assert (first.revenue, first.cost) == (3 * 5500 / 10**9, 3 * 300 / 10**9)
    assert first.margin == pytest.approx(3 * 5200 / 10**9)
    # Upstreams ask for the rest of a day in another currency: part of a cost is none.
    add(database_dsn, PriceRow(since=EPOCH, side="cost", model="far", currency="EUR", input=10**8))
    add(database_dsn, replace(PRICE, since=EPOCH, model="far"))
    record(database_dsn, answer("f", 4, alias="far"), answer("h", 28, alias="far"))
    told = run(database_dsn, lambda conn: questions.revenue(conn, window, by="tenant"))
    assert [(row.at.day, row.key, row.currency, row.cost, row.margin) for row in told] == [
        (2, "one", "USD", None, None),
        (2, "two", "USD", 300 / 10**9, pytest.approx(5200 / 10**9)),
        (3, "one", "USD", None, None),
        (3, "one", "EUR", 0, pytest.approx(3000 / 10**9)),
    ]
    by_tenant = run(
        database_dsn, lambda conn: questions.revenue(conn, replace(window, alias="live"))
    )
    by_tenant += run(
        database_dsn, lambda conn: questions.revenue(conn, replace(window, alias="other"))
    )
    assert [(row.key, row.generations) for row in by_tenant] == [("one", 2), ("two", 1), ("one", 1)]
