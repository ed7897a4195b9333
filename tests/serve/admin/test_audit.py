"""What is changed below /admin has one row of the audit, and no change is without one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest
from tests.audit import read_audit

from liveweights.http.routes import Table
from liveweights.meter.key_rows import create_key
from liveweights.meter.tenants import Terms, create_tenant
from liveweights.serve.admin.openapi import OPERATORS
from liveweights.serve.admin.routes import admin_routes
from liveweights.serve.api.app import make_authenticator
from liveweights.serve.api.settings import ApiSettings
from liveweights.store.database import Connection

from .test_routes import OPERATOR, on_admin


@dataclass(frozen=True)
class Case:
    """A request that changes something of the tenant ``acme`` or its KEY, or makes another."""

    method: str
    path: str
    body: dict[str, Any] = field(default_factory=dict[str, Any])
    action: str = ""
    target: str = "acme"

    @property
    def operation(self) -> tuple[str, str]:
        """As OpenAPI has it."""
        path = self.path.replace("/KEY", "/{key}").replace("/acme", "/{tenant}")
        return self.method.lower(), path


CASES = (
    Case("POST", "/admin/tenants", {"name": "bolt", "note": "pays late"}, "create tenant", "bolt"),
    Case("PATCH", "/admin/tenants/acme", {"plan": "pro"}, "change tenant"),
    Case("DELETE", "/admin/tenants/acme", {}, "remove tenant"),
    Case("POST", "/admin/tenants/acme/credit", {"nanos": 5, "why": "invoice 1"}, "add credit"),
    Case("POST", "/admin/keys", {"tenant": "acme", "name": "CI"}, "create key"),
    Case("POST", "/admin/keys/KEY/rotate", {"grace_seconds": 60}, "rotate key"),
    Case("POST", "/admin/keys/KEY/revoke", {"why": "lost"}, "revoke key"),
)


def prepare(dsn: str) -> tuple[str, str]:
    """The id of a key of ``acme``, and the whole key."""

    async def go() -> tuple[str, str]:
        async with await Connection.connect(dsn) as conn:
            await create_tenant(conn, "acme", Terms())
            row, key = await create_key(conn, "acme")
            return row.id, key

    return asyncio.run(go())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.action)
def test_each_change_has_one_row(database_dsn: str, case: Case) -> None:
    id, key = prepare(database_dsn)
    path = case.path.replace("KEY", id)

    async def change(client: httpx.AsyncClient) -> None:
        answer = await client.request(case.method, path, json=case.body)
        assert answer.is_success, answer.text
        secrets.append(answer.json().get("key", key))

    secrets = [key, OPERATOR]
    on_admin(database_dsn, change)
    (entry,) = read_audit(database_dsn)
    assert (entry.actor, entry.action, entry.target) == ("operator key", case.action, case.target)
    assert case.body.items() <= {"name": "bolt", "tenant": "acme", **entry.details}.items()
    assert not any(secret in str(entry.details) for secret in secrets)
    if "key" in case.action:
        assert entry.details["key"].startswith("lw-")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.action)
def test_what_is_refused_has_none(database_dsn: str, case: Case) -> None:
    id, _ = prepare(database_dsn)

    async def fail(client: httpx.AsyncClient) -> None:
        wrong = case.path.replace("acme", "nobody").replace("KEY", "nothing")
        body = {**case.body, "name": "acme"} if case.action == "create tenant" else case.body
        body = {**body, "tenant": "nobody"} if case.action == "create key" else body
        answer = await client.request(case.method, wrong, json=body)
        assert answer.status_code in (404, 409), answer.text
        headers = {"authorization": "Bearer no-operator"}
        path = case.path.replace("KEY", id)
        nobody = await client.request(case.method, path, json=case.body, headers=headers)
        assert nobody.status_code == 401

    on_admin(database_dsn, fail)
    assert read_audit(database_dsn) == []


def test_a_change_without_its_row_is_none(database_dsn: str) -> None:
    id, _ = prepare(database_dsn)
    with psycopg.connect(database_dsn) as conn:
        conn.execute("alter table audit add check (action <> 'revoke key')")

    async def test(client: httpx.AsyncClient) -> None:
        refused = await client.post(f"/admin/keys/{id}/revoke", json={})
        assert refused.status_code == 500
        assert (await client.get(f"/admin/keys/{id}")).json()["revoked_at"] is None
        unchanged = await client.patch("/admin/tenants/acme", json={})
        assert unchanged.status_code == 200

    on_admin(database_dsn, test)
    assert read_audit(database_dsn) == []


def test_every_address_that_changes_something_is_tried_here() -> None:
    """Those of GET cannot: Postgres refuses what they write."""
    changing = {(one.method, one.path) for one in OPERATORS if one.method != "get"}
    assert {case.operation for case in CASES} == changing
    authenticator = make_authenticator(ApiSettings(operator_key=OPERATOR))
    (mount,) = admin_routes(None, authenticator)  # type: ignore[arg-type]
    table = Table([mount])
    tried = {(case.method, table.match(case.path)[0]) for case in CASES}
    assert tried == {
        (route.method, f"/admin{route.path}")
        for route in mount.routes  # type: ignore[union-attr]
        if route.method != "GET"  # type: ignore[union-attr]
    }
