"""``/admin/keys`` and ``/admin/tenants``: for whoever has the operator's key."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
from starlette.types import Receive, Scope, Send

from liveweights.access.audit import OPERATOR_KEY, Do, Event, carry_out
from liveweights.http.authentication import Authenticator
from liveweights.http.connections import Connections
from liveweights.http.errors import ApiError, bad_request, database_away
from liveweights.http.routes import Mount, Route, Routes
from liveweights.http.wire import decode, read_json, read_query, reply
from liveweights.meter import key_rows, tenants
from liveweights.meter.key_rows import KeyRow
from liveweights.meter.price_rows import CurrencyError
from liveweights.meter.rights import Rights
from liveweights.meter.tenants import Tenant
from liveweights.serve.admin.objects import (
    KeyList,
    MadeKey,
    NewCredit,
    NewKey,
    NewTenant,
    RemovedTenant,
    Revocation,
    Rotation,
    TenantChange,
    TenantList,
)
from liveweights.store.database import Connection, Pool
from liveweights.store.faults import AWAY
from liveweights.terms.route import RouteError, parse_route

LARGEST = 1 << 18
PRIVATE = ((b"cache-control", b"no-store"),)

T = TypeVar("T", bound=msgspec.Struct)
Done = TypeVar("Done")


class Admin:
    """Each raises ApiError 401 without the operator's key. What changes something says so for the
    audit, in the same transaction."""

    def __init__(self, pool: Pool, authenticator: Authenticator) -> None:
        self._connections = Connections(pool)
        self._authenticator = authenticator

    @asynccontextmanager
    async def _connection(self, *, writes: bool = False) -> AsyncGenerator[Connection]:
        """Raises ApiError 400 (currencies differ), 404 (it is not there), 408, 429, 503."""
        try:
            async with self._connections.take(writes=writes) as conn:
                yield conn
        except AWAY:
            raise database_away("Keys and tenants cannot be read or changed") from None
        except CurrencyError as error:
            raise bad_request(_sentence(error), "currency", "currency_mismatch") from None
        except LookupError as error:
            raise ApiError(404, _sentence(error), code="not_found") from None

    async def _change(self, do: Do[Done]) -> Done:
        """Raises ApiError as ``_connection``."""
        async with self._connection(writes=True) as conn:
            return await carry_out(conn, OPERATOR_KEY, do)

    async def _read(self, scope: Scope, receive: Receive, type: type[T]) -> T:
        """The body; an empty one says nothing. Raises ApiError 400, 413, 415."""
        # Also an empty one says that it is JSON: a browser sends the password with forms of other
        # sites too.
        body = await read_json(scope, receive, LARGEST)
        return decode(body or b"{}", type)

    async def list_tenants(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /admin/tenants"""
        await self._authenticator.check_operator(scope)
        async with self._connection() as conn:
            found = await tenants.read_tenants(conn)
        await _answer(send, 200, TenantList(data=found))

    async def create_tenant(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /admin/tenants. Raises ApiError 409 where the name is taken."""
        await self._authenticator.check_operator(scope)
        asked = await self._read(scope, receive, NewTenant)
        said = msgspec.structs.asdict(asked)
        name = said.pop("name")

        async def create(conn: Connection) -> tuple[Tenant, Event]:
            made = await tenants.create_tenant(conn, name, tenants.Terms(**said))
            return made, Event("create tenant", name, said)

        try:
            tenant = await self._change(create)
        except ApiError as error:
            if error.status == 404:
                raise ApiError(409, error.message, param="name", code="name_taken") from None
            raise
        await _answer(send, 201, tenant)

    async def show_tenant(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /admin/tenants/{tenant}"""
        await self._authenticator.check_operator(scope)
        async with self._connection() as conn:
            tenant = await tenants.read_tenant(conn, _named(scope, "tenant"))
        await _answer(send, 200, tenant)

    async def set_tenant(self, scope: Scope, receive: Receive, send: Send) -> None:
        """PATCH /admin/tenants/{tenant}"""
        await self._authenticator.check_operator(scope)
        name = _named(scope, "tenant")
        given = (await self._read(scope, receive, TenantChange)).given()

        async def change(conn: Connection) -> tuple[Tenant, Event | None]:
            tenant = await tenants.set_tenant(conn, name, given)
            return tenant, Event("change tenant", name, given) if given else None

        await _answer(send, 200, await self._change(change))

    async def remove_tenant(self, scope: Scope, receive: Receive, send: Send) -> None:
        """DELETE /admin/tenants/{tenant}"""
        await self._authenticator.check_operator(scope)
        name = _named(scope, "tenant")

        async def remove(conn: Connection) -> tuple[int, Event]:
            revoked = await tenants.remove_tenant(conn, name)
            return revoked, Event("remove tenant", name, {"revoked": revoked})

        revoked = await self._change(remove)
        await _answer(send, 200, RemovedTenant(name=name, revoked=revoked))

    async def add_credit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /admin/tenants/{tenant}/credit"""
        await self._authenticator.check_operator(scope)
        name, _, verb = _named(scope, "tenant").rpartition("/")
        if verb != "credit":
            raise _unknown(scope)
        asked = await self._read(scope, receive, NewCredit)
        if not asked.nanos:
            raise bad_request("'nanos' is 0: nothing was paid.", "nanos", "invalid_value")

        async def add(conn: Connection) -> tuple[Tenant, Event]:
            tenant = await tenants.add_credit(conn, name, asked.nanos, asked.why)
            return tenant, Event("add credit", name, msgspec.structs.asdict(asked))

        await _answer(send, 200, await self._change(add))

    async def list_keys(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /admin/keys, with ``?tenant=`` those of one."""
        await self._authenticator.check_operator(scope)
        tenant = read_query(scope, ("tenant",)).get("tenant")
        async with self._connection() as conn:
            found = await key_rows.read_keys(conn, tenant=tenant)
        await _answer(send, 200, KeyList(data=found))

    async def create_key(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /admin/keys"""
        await self._authenticator.check_operator(scope)
        asked = await self._read(scope, receive, NewKey)
        if (ends := asked.expires_at) is not None:
            if ends.tzinfo is None:
                message = "'expires_at' has no time zone: end it with Z, or +02:00."
                raise bad_request(message, "expires_at", "invalid_value")
            if ends <= datetime.now(UTC):
                raise bad_request("'expires_at' is over already.", "expires_at", "invalid_value")
        _check_route(asked.rights)

        async def create(conn: Connection) -> tuple[MadeKey, Event]:
            row, key = await key_rows.create_key(
                conn,
                asked.tenant,
                name=asked.name,
                expires_at=asked.expires_at,
                rights=asked.rights,
            )
            details = {"key": row.prefix, **msgspec.structs.asdict(asked)}
            return MadeKey(key=key, row=row), Event("create key", row.tenant, details)

        await _answer(send, 201, await self._change(create))

    async def show_key(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /admin/keys/{key}"""
        await self._authenticator.check_operator(scope)
        async with self._connection() as conn:
            row = await key_rows.read_key(conn, _named(scope, "key"))
        await _answer(send, 200, row)

    async def change_key(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /admin/keys/{key}/rotate and /admin/keys/{key}/revoke"""
        await self._authenticator.check_operator(scope)
        name, _, verb = _named(scope, "key").rpartition("/")
        if verb == "rotate":
            seconds = (await self._read(scope, receive, Rotation)).grace_seconds

            async def rotate(conn: Connection) -> tuple[MadeKey, Event]:
                row, key = await key_rows.rotate_key(conn, name, timedelta(seconds=seconds))
                details = {"key": row.prefix, "grace_seconds": seconds}
                return MadeKey(key=key, row=row), Event("rotate key", row.tenant, details)

            await _answer(send, 200, await self._change(rotate))
        elif verb == "revoke":
            why = (await self._read(scope, receive, Revocation)).why

            async def revoke(conn: Connection) -> tuple[KeyRow, Event]:
                row = await key_rows.revoke_key(conn, name, why)
                details = {"key": row.prefix, "why": why}
                return row, Event("revoke key", row.tenant, details)

            await _answer(send, 200, await self._change(revoke))
        else:
            raise _unknown(scope)


def admin_routes(pool: Pool, authenticator: Authenticator) -> Routes:
    """None where there is no operator's key."""
    if not authenticator.has_operator:
        return []
    admin = Admin(pool, authenticator)
    return [
        Mount(
            "/admin",
            [
                Route("GET", "/tenants", admin.list_tenants),
                Route("POST", "/tenants", admin.create_tenant),
                Route("GET", "/tenants/{tenant}", admin.show_tenant),
                Route("POST", "/tenants/{tenant}", admin.add_credit),
                Route("PATCH", "/tenants/{tenant}", admin.set_tenant),
                Route("DELETE", "/tenants/{tenant}", admin.remove_tenant),
                Route("GET", "/keys", admin.list_keys),
                Route("POST", "/keys", admin.create_key),
                Route("GET", "/keys/{key}", admin.show_key),
                Route("POST", "/keys/{key}", admin.change_key),
            ],
        )
    ]


def _check_route(rights: Rights) -> None:
    try:
        parse_route(rights.route)
    except RouteError as error:
        raise bad_request(f"rights.{error}.", "rights.route", "invalid_value") from None


def _unknown(scope: Scope) -> ApiError:
    message = f"Unknown path: {scope['method']} {scope['path'][:200]}"
    return ApiError(404, message, code="not_found")


def _named(scope: Scope, name: str) -> str:
    return scope["path_params"][name]


async def _answer(send: Send, status: int, body: Any) -> None:
    await reply(send, status, msgspec.json.encode(body), PRIVATE)


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + "."
