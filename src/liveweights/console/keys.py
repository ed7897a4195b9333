"""The page of API keys, and what an admin changes about them. A key is shown once, when it is
made."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from liveweights.access.actions import OfKeys
from liveweights.access.audit import Event
from liveweights.console.cursor import PARAM, ROWS, cut_page, read_moment, write_moment
from liveweights.console.forms import Done, Form, Sent
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

FIELDS = (
    "do",
    "tenant",
    "name",
    "use",
    "only",
    "days",
    "period",
    "amount",
    "key",
    "minutes",
    "why",
)
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
        names=tuple(subject.list_names(asked.tenant)),
    )


async def change_keys(conn: Connection, subject: Subject, sent: Sent) -> Done:
    """Create, rotate or revoke one. Raises ApiError: 400, 404 for no such key or tenant, 409 where
    it cannot be done."""
    try:
        match sent.get("do"):
            case "create":
                return await _create(conn, sent.fields)
            case "rotate":
                return await _rotate(conn, sent.fields)
            case "revoke":
                return await _revoke(conn, sent.fields)
            case other:
                shown = (other or "")[:50]
                raise bad_request(f"'do' is {shown!r}: create, rotate or revoke.", "do")
    except (TenantError, UnknownKey) as error:
        raise ApiError(404, str(error), code="not_found") from None
    except CurrencyError as error:
        raise ApiError(409, str(error), code="not_done") from None


CHANGE = Form(path="/keys", fields=FIELDS, do=change_keys, needed="admin")


async def _create(conn: Connection, form: Mapping[str, str]) -> Done:
    rights = read_rights(form)
    days = read_whole(form, "days", 1, LONGEST_DAYS)
    row, key = await key_rows.create_key(
        conn,
        form.get("tenant", ""),
        name=_check("name", form.get("name", ""), KeyName),
        expires_at=None if days is None else datetime.now(UTC) + timedelta(days=days),
        rights=rights,
    )
    return _tell("create key", row, Made(key=key, row=row), rights=msgspec.to_builtins(rights))


async def _rotate(conn: Connection, form: Mapping[str, str]) -> Done:
    minutes = read_whole(form, "minutes", 0, LONGEST_GRACE // 60) or 0
    row, key = await key_rows.rotate_key(conn, form.get("key", ""), timedelta(minutes=minutes))
    return _tell("rotate key", row, Made(key=key, row=row), minutes=minutes)


async def _revoke(conn: Connection, form: Mapping[str, str]) -> Done:
    why = _check("why", form.get("why", ""), Why)
    return _tell("revoke key", await key_rows.revoke_key(conn, form.get("key", ""), why), None)


def _tell(action: OfKeys, row: KeyRow, made: Made | None, **details: object) -> Done:
    return Done(
        event=Event(action, row.tenant, {"key": row.prefix, **details}),
        place="/keys",
        once={"made": made} if made else None,
    )


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
