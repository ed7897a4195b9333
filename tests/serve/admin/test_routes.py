"""Keys and tenants, for whoever has the operator's key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from tests.meter.test_ledger import PRICE, add

from liveweights.http.application import Application
from liveweights.http.hosts import Hosts
from liveweights.meter.secret import id_of
from liveweights.serve.admin.routes import admin_routes
from liveweights.serve.api.app import make_authenticator
from liveweights.serve.api.metrics import Metrics
from liveweights.serve.api.settings import ApiSettings
from liveweights.store.database import open_pool

OPERATOR = "operator-0123456789"
HEADERS = {"authorization": f"Bearer {OPERATOR}"}


def on_admin(dsn: str, test: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    async def go() -> None:
        pool = await open_pool(dsn)
        routes = admin_routes(pool, make_authenticator(ApiSettings(operator_key=OPERATOR)))
        transport = httpx.ASGITransport(Application(routes, Metrics(), Hosts(())))
        async with httpx.AsyncClient(
            transport=transport, base_url="http://here", headers=HEADERS
        ) as client:
            await test(client)
        await pool.close()

    asyncio.run(go())


def test_a_tenant_and_its_key_from_first_to_last(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        asked = {"name": "acme", "time_zone": "Europe/Berlin", "currency": "EUR"}
        made = await client.post("/admin/tenants", json=asked)
        assert (made.status_code, made.json()["time_zone"]) == (201, "Europe/Berlin")
        again = await client.post("/admin/tenants", json=asked)
        assert (again.status_code, again.json()["error"]["code"]) == (409, "name_taken")

        budgets = [{"period": "month", "nanos": 5_000_000_000}]
        change = {"budgets": budgets, "note": "pays late"}
        changed = await client.patch("/admin/tenants/acme", json=change)
        assert changed.json()["budgets"] == budgets
        assert changed.json()["currency"] == "EUR"
        assert (await client.get("/admin/tenants/acme")).json() == changed.json()
        assert [one["name"] for one in (await client.get("/admin/tenants")).json()["data"]] == [
            "acme"
        ]

        paid = {"nanos": 10**10, "why": "invoice 1"}
        assert (await client.post("/admin/tenants/acme/credit", json=paid)).json()[
            "credit"
        ] == 10**10

        rights: dict[str, Any] = {"uses": ["feedback"], "route": {"local_only": True}}
        made = await client.post("/admin/keys", json={"tenant": "acme", "rights": rights})
        assert made.status_code == 201
        assert made.headers["cache-control"] == "no-store"
        row, key = made.json()["row"], made.json()["key"]
        assert id_of(key) == row["id"]
        assert row["rights"]["uses"] == ["feedback"]
        shown = await client.get(f"/admin/keys/{row['prefix']}")
        assert shown.json() == row
        assert key not in shown.text
        listed = (await client.get("/admin/keys", params={"tenant": "acme"})).json()["data"]
        assert listed == [row]

        rotated = await client.post(f"/admin/keys/{row['id']}/rotate", json={"grace_seconds": 60})
        assert rotated.json()["key"] != key
        assert rotated.json()["row"]["previous_until"] is not None
        revoked = await client.post(f"/admin/keys/{row['id']}/revoke", json={"why": "lost"})
        assert revoked.json()["revoked_why"] == "lost"
        again = await client.post(f"/admin/keys/{row['id']}/revoke", json={})
        assert (again.status_code, again.json()["error"]["code"]) == (404, "not_found")

        await client.post("/admin/keys", json={"tenant": "acme"})
        removed = await client.delete("/admin/tenants/acme")
        assert removed.json() == {"name": "acme", "revoked": 1, "removed": True}
        assert (await client.get("/admin/tenants/acme")).status_code == 404
        assert (await client.post("/admin/keys", json={"tenant": "acme"})).status_code == 404

    on_admin(database_dsn, test)


def test_what_cannot_be_is_refused_with_its_place(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        await client.post("/admin/tenants", json={"name": "acme"})
        for method, path, body, status, words in (
            ("POST", "/admin/tenants", {}, 400, "name"),
            ("POST", "/admin/tenants", {"name": "a\0"}, 400, "name"),
            ("POST", "/admin/tenants", {"name": "x", "time_zone": "Mars"}, 400, "no time zone"),
            ("POST", "/admin/tenants", {"name": "x", "currency": "euro"}, 400, "currency"),
            ("PATCH", "/admin/tenants/acme", {"name": "b"}, 400, "name"),
            ("PATCH", "/admin/tenants/nobody", {}, 404, "no tenant"),
            ("GET", "/admin/tenants/a%00b", None, 400, "NUL"),
            ("GET", "/admin/keys/a%00b", None, 400, "NUL"),
            ("POST", "/admin/tenants/acme/credit", {"nanos": 0, "why": "x"}, 400, "nothing"),
            ("POST", "/admin/tenants/acme/credit", {"nanos": 5}, 400, "why"),
            ("POST", "/admin/tenants/acme", {}, 404, "Unknown path"),
            ("POST", "/admin/keys/abc", {}, 404, "Unknown path"),
            ("POST", "/admin/keys/abc/rotate", {"grace_seconds": -1}, 400, "grace_seconds"),
            ("POST", "/admin/keys", {"tenant": "acme", "expires_at": "2020-01-01"}, 400, "expires"),
            (
                "POST",
                "/admin/keys",
                {"tenant": "acme", "expires_at": "2020-01-01T00:00:00Z"},
                400,
                "is over already",
            ),
            (
                "POST",
                "/admin/keys",
                {"tenant": "acme", "rights": {"route": {"near": 1}}},
                400,
                "near",
            ),
        ):
            answer = await client.request(method, path, json=body)
            assert (answer.status_code, words in answer.text) == (status, True), (path, answer.text)

    on_admin(database_dsn, test)


def test_nobody_else_gets_in(database_dsn: str) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        await client.post("/admin/tenants", json={"name": "acme"})
        form = await client.post("/admin/keys/abc/revoke", content=b"")
        assert form.status_code == 415  # what a page of another site can send
        del client.headers["authorization"]
        for method, path in (
            ("GET", "/admin/tenants"),
            ("POST", "/admin/tenants"),
            ("GET", "/admin/tenants/acme"),
            ("PATCH", "/admin/tenants/acme"),
            ("DELETE", "/admin/tenants/acme"),
            ("GET", "/admin/keys"),
            ("POST", "/admin/keys"),
            ("GET", "/admin/keys/abc"),
            ("POST", "/admin/keys/abc/rotate"),
        ):
            answer = await client.request(method, path)
            assert (answer.status_code, path) == (401, path)

    on_admin(database_dsn, test)


def test_without_an_operators_key_there_is_nothing() -> None:
    assert admin_routes(None, make_authenticator(ApiSettings())) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a/b", "Ümlaut", "with space", "50%"])
def test_any_name_that_can_be_stored_can_be_asked_for(database_dsn: str, name: str) -> None:
    async def test(client: httpx.AsyncClient) -> None:
        assert (await client.post("/admin/tenants", json={"name": name})).status_code == 201
        shown = await client.get(f"/admin/tenants/{quote(name)}")
        assert shown.json()["name"] == name

    on_admin(database_dsn, test)


def test_a_budget_in_another_currency_than_the_price_is_told(database_dsn: str) -> None:
    add(database_dsn, replace(PRICE, currency="EUR"))

    async def test(client: httpx.AsyncClient) -> None:
        budgets = [{"period": "month", "nanos": 10**9}]
        answer = await client.post("/admin/tenants", json={"name": "acme", "budgets": budgets})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "currency_mismatch")
        assert "EUR" in answer.json()["error"]["message"]

    on_admin(database_dsn, test)
