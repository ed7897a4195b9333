"""The page of API keys, and what an admin changes about them. A key is shown once, when it is
made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from liveweights.access.audit import write_entry
from liveweights.console.cursor import PARAM, ROWS, cut_page, read_moment, write_moment
from liveweights.console.person import Person
from liveweights.console.subject import Asked, Subject
from liveweights.http.errors import ApiError, bad_request
from liveweights.meter import key_rows
from liveweights.meter.budgets import PERIODS, show_budgets
from liveweights.meter.key_rows import LONGEST_GRACE, KeyName, KeyRow, State, UnknownKey, Why
from liveweights.meter.money import parse_money
from liveweights.meter.price_rows import CurrencyError
from liveweights.meter.rights import USES, Rights
from liveweights.meter.settings import show_limits
from liveweights.meter.tenants import TenantError, read_tenants
from liveweights.store.database import Connection

FORM = ("do", "tenant", "name", "use", "only", "days", "period", "amount", "key", "minutes", "why")
LONGEST_DAYS = 36_500
LISTED = 200
"""Tenants that the form proposes."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key without what would open anything; its limits and budgets also in words."""

    row: KeyRow
    state: State
    limits: str
    budgets: str


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list, newest first; ``next`` is where the next one begins, None at the end.
    ``asked_for``: the API asks for keys now. ``tenants``, ``uses``, ``names`` and ``periods`` are
    what the form offers."""

    keys: tuple[Key, ...]
    next: str | None
    asked_for: bool
    tenants: tuple[str, ...]
    names: tuple[str, ...]
    uses: tuple[str, ...] = USES
    periods: tuple[str, ...] = PERIODS


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """``key`` is to be kept by whoever sees it: nobody can be told it again."""

    key: str
    row: KeyRow


async def read_keys(conn: Connection, subject: Subject, asked: Asked) -> Keys:
    """GET /keys and GET /keys.json. Raises ApiError 400."""
    before = read_moment(asked.get(PARAM))
    one_more = await key_rows.list_keys(conn, ROWS + 1, tenant=asked.tenant, before=before)
    shown, following = cut_page(one_more, ROWS, lambda row: write_moment(row.created_at, row.id))
    now = datetime.now(UTC)
    names = None if asked.tenant is None else [asked.tenant]
    tenants = [one.name for one in await read_tenants(conn, names) if one.removed_at is None]
    return Keys(
        keys=tuple(
            Key(
                row=row,
                state=row.state(now),
                limits=show_limits(row.rights.limits),
                budgets=show_budgets(row.rights.budgets),
            )
            for row in shown
        ),
        next=following,
        asked_for=asked.keyed,
        tenants=tuple(tenants[:LISTED]),
        names=tuple(subject.names),
    )


async def change_keys(conn: Connection, person: Person, form: Mapping[str, str]) -> Made | None:
    """Do what the form says; what was made, if anything was. Raises ApiError: 400, 404 for no such
    key or tenant, 409 where it cannot be done."""
    try:
        match form.get("do"):
            case "create":
                return await _create(conn, person, form)
            case "rotate":
                return await _rotate(conn, person, form)
            case "revoke":
                await _revoke(conn, person, form)
                return None
            case other:
                shown = (other or "")[:50]
                raise bad_request(f"'do' is {shown!r}: create, rotate or revoke.", "do")
    except (TenantError, UnknownKey) as error:
        raise ApiError(404, str(error), code="not_found") from None
    except CurrencyError as error:
        raise ApiError(409, str(error), code="not_done") from None


async def _create(conn: Connection, person: Person, form: Mapping[str, str]) -> Made:
    rights = read_rights(form)
    name = _check("name", form.get("name", ""), KeyName)
    days = read_whole(form, "days", 1, LONGEST_DAYS)
    row, key = await key_rows.create_key(
        conn,
        form.get("tenant", ""),
        name=name,
        expires_at=None if days is None else datetime.now(UTC) + timedelta(days=days),
        rights=rights,
    )
    details = {"key": row.prefix, "name": name, "rights": msgspec.to_builtins(rights)}
    await write_entry(conn, person.name, "create key", row.tenant, details)
    return Made(key=key, row=row)


async def _rotate(conn: Connection, person: Person, form: Mapping[str, str]) -> Made:
    minutes = read_whole(form, "minutes", 0, LONGEST_GRACE // 60) or 0
    row, key = await key_rows.rotate_key(conn, form.get("key", ""), timedelta(minutes=minutes))
    details = {"key": row.prefix, "minutes": minutes}
    await write_entry(conn, person.name, "rotate key", row.tenant, details)
    return Made(key=key, row=row)


async def _revoke(conn: Connection, person: Person, form: Mapping[str, str]) -> None:
    why = _check("why", form.get("why", ""), Why)
    row = await key_rows.revoke_key(conn, form.get("key", ""), why)
    details = {"key": row.prefix, "why": why}
    await write_entry(conn, person.name, "revoke key", row.tenant, details)


def read_rights(form: Mapping[str, str]) -> Rights:
    """What the form says that a key may do. Raises ApiError 400."""
    said: dict[str, Any] = {}
    if use := form.get("use"):
        said["uses"] = [use]
    if model := form.get("only"):
        said["models"] = [model]
    if amount := form.get("amount"):
        try:
            nanos = parse_money(amount)
        except ValueError as error:
            raise bad_request(str(error), "amount") from None
        said["budgets"] = [{"period": form.get("period", "month"), "nanos": nanos}]
    return _check("rights", said, Rights)


def read_whole(form: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    """A whole number of a form; None where it says none. Raises ApiError 400."""
    text = form.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and least <= int(text) <= most):
        raise bad_request(f"{name!r} is {text[:50]!r}; it is from {least} to {most}.", name)
    return int(text)


def _check(name: str, value: object, type: Any) -> Any:
    """Raises ApiError 400."""
    try:
        return msgspec.convert(value, type)
    except msgspec.ValidationError as error:
        raise bad_request(f"{name}: {error}.", name) from None
