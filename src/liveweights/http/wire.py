"""Bytes in, checked requests out; and plain replies."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Annotated, Any, TypeVar, cast
from urllib.parse import parse_qsl

import msgspec
import numpy as np
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from liveweights.http.errors import ApiError, bad_request
from liveweights.http.surrogates import without_halves

Struct = TypeVar("Struct", bound=msgspec.Struct)
RawHeaders = Iterable[tuple[bytes, bytes]]

# Postgres text cannot hold a NUL, so what is stored is refused at the door.
# The pattern is one that both Python and JSON schema (ECMA 262) read.
WITHOUT_NUL = r"^[^\x00]*$"
StoredText = Annotated[str, msgspec.Meta(pattern=WITHOUT_NUL)]
StoredName = Annotated[str, msgspec.Meta(pattern=WITHOUT_NUL, min_length=1, max_length=512)]

MOST_FIELDS, LONGEST_FIELD = 32, 2000
"""Of a query or a form."""
LARGEST_FORM = 12 * LONGEST_FIELD + 10_000
"""Bytes: a character of four bytes takes twelve in a form; and what is beside the longest field."""


def check_text(text: str, what: str, param: str | None = None) -> None:
    """Raises ApiError 400 for what Postgres cannot hold. ``what`` begins a sentence."""
    if "\0" in text:
        message = f"{what} contains a NUL character, which cannot be stored."
        raise bad_request(message, param, "invalid_value")


DEEPEST = 100
"""Levels of JSON; what writes it again, in Python or in a template, follows about ten times as
many."""
NUL = "The text contains a NUL character, which cannot be stored"
_MARKS = b'"[]{}'
_OTHERS = bytes(set(range(256)) - set(_MARKS))
_QUOTE = ord('"')
_STEP = np.array([b in b"[{" for b in range(256)], np.int32)
_STEP -= np.array([b in b"]}" for b in range(256)], np.int32)


class ClientGone(Exception):
    """The client closed the connection before its request was read."""


def check_json(headers: Headers) -> None:
    """Raises ApiError 415 for a body that is not said to be JSON: that is what a browser does not
    send for a page of another site without asking whether it may."""
    kind = _media_type(headers)
    if kind != "application/json" and not (
        kind.startswith("application/") and kind.endswith("+json")
    ):
        reason = f"it is sent as {kind[:50]!r}" if kind else "the header is missing"
        message = f"The body is JSON: say so with 'content-type: application/json' ({reason})."
        raise ApiError(415, message, param="content-type", code="unsupported_media_type")


def _media_type(headers: Headers) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def read_query(scope: Scope, known: Collection[str], lists: Collection[str] = ()) -> dict[str, str]:
    """The query's parameters, without those that are empty, and without ``lists``: these may come
    any number of times, also with ``[]`` after the name as official clients write it, and nobody
    here reads them. Raises ApiError 400 for another that is not ``known``, comes twice, is no
    UTF-8, or cannot be stored."""
    pairs = _parse(scope.get("query_string", b""), "query")
    told = [(name, value) for name, value in pairs if name.removesuffix("[]") not in lists]
    return _fields(told, known)


async def read_form(
    scope: Scope, receive: Receive, known: Collection[str], limit: int = LARGEST_FORM
) -> dict[str, str]:
    """A page's form, without what is empty; lines end as they do in the page, not as forms send
    them. Raises ApiError 400 as ``read_query``, 413, 415."""
    sent = await read_body(scope, receive, limit)
    if sent and _media_type(Headers(scope=scope)) != "application/x-www-form-urlencoded":
        message = "The body is a form: send it as 'application/x-www-form-urlencoded'."
        raise ApiError(415, message, param="content-type", code="unsupported_media_type")
    pairs = _parse(sent, "form")
    return _fields([(name, value.replace("\r\n", "\n")) for name, value in pairs], known)


def _parse(sent: bytes, what: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(sent.decode(), max_num_fields=MOST_FIELDS, errors="strict")
    except UnicodeDecodeError:
        raise bad_request(f"The {what} is not UTF-8.") from None
    except ValueError:
        raise bad_request(f"The {what} has more than {MOST_FIELDS} fields.") from None


def _fields(pairs: Iterable[tuple[str, str]], known: Collection[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in pairs:
        shown = name[:100]
        if name not in known:
            listed = ", ".join(known)
            raise bad_request(f"Unknown parameter {shown!r}; there are {listed}.", shown)
        if name in fields:
            raise bad_request(f"{name!r} is given twice.", name)
        if len(value) > LONGEST_FIELD:
            raise bad_request(f"{name!r} is longer than {LONGEST_FIELD} characters.", name)
        check_text(value, repr(name), name)
        fields[name] = value
    return fields


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body. Raises ApiError 413 above ``limit`` bytes, ClientGone."""
    declared = Headers(scope=scope).get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def read_json(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body of a request that says that it is JSON. Half of a surrogate pair, as clients
    in JavaScript write one that cut a text within a character, is U+FFFD in it. Raises ApiError
    413, 415, ClientGone."""
    check_json(Headers(scope=scope))
    return without_halves(await read_body(scope, receive, limit))


def _too_large(limit: int) -> ApiError:
    message = f"The request body is larger than {limit} bytes."
    return ApiError(413, message, code="request_too_large")


def decode(body: bytes, type: type[Struct]) -> Struct:
    """``body`` as ``type``. Raises ApiError 400 that names the place, or all unknown parameters."""
    check_depth(body)
    try:
        return msgspec.json.decode(body, type=type)
    except msgspec.ValidationError as error:
        raise invalid(error, body, type) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise not_json(error) from None
    except RecursionError:
        raise bad_request("The request body is nested too deeply.") from None


def not_json(error: Exception) -> ApiError:
    return bad_request(f"The request body is not valid JSON: {error}")


def check_depth(body: bytes) -> None:
    """Raises ApiError 400 for JSON that is nested deeper than what writes it again can follow."""
    if is_deep(body):
        raise bad_request(f"The request body is nested deeper than {DEEPEST} levels.")


def is_deep(body: bytes) -> bool:
    """Whether JSON is nested deeper than ``DEEPEST``."""
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return False
    unescaped = body.replace(rb"\\", b"").replace(rb"\"", b"")
    marks = np.frombuffer(unescaped.translate(None, _OTHERS), np.uint8)
    within = np.cumsum(marks == _QUOTE, dtype=np.int32) & 1
    depth = np.cumsum(_STEP[marks] * (1 - within), dtype=np.int32)
    return bool(depth.max(initial=0) > DEEPEST)


def check_storable(body: bytes) -> None:
    """Raises ApiError 400 for JSON with a text, anywhere, that Postgres cannot hold."""
    if b"\0" not in body and rb"\u0000" not in body.replace(rb"\\", b""):
        return
    try:
        whole = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return  # ``decode`` says so
    if (place := _find_nul(whole)) is not None:
        place = place.lstrip(".")[:200]
        raise bad_request(f"Invalid value for '{place}': {NUL}.", place, "invalid_value")


_MAY_HOLD = (str, list, dict)


def _find_nul(value: Any) -> str | None:
    """Where the first text with a NUL is."""
    if isinstance(value, str):
        return "" if "\0" in value else None
    if isinstance(value, list):
        for place, item in enumerate(cast(list[Any], value)):
            if isinstance(item, _MAY_HOLD) and (found := _find_nul(item)) is not None:
                return f"[{place}]{found}"
    elif isinstance(value, dict):
        members = cast(dict[str, Any], value)
        if any("\0" in name for name in members):
            return ""
        for name, member in members.items():
            if (found := _find_nul(member)) is not None:
                return f".{name}{found}"
    return None


def invalid(error: msgspec.ValidationError, body: bytes, type: type[Struct]) -> ApiError:
    """What the client is told of a body that is not of that type."""
    reason, _, path = str(error).partition(" - at `$")
    param = path.rstrip("`").lstrip(".") or None
    if reason.startswith("Object contains unknown field"):
        if param is None:
            return _unknown_parameters(body, type, reason)
        return bad_request(f"{reason}, in '{param}'.", param, "unknown_parameter")
    if reason.startswith("Object missing required field"):
        name = reason.partition("`")[2].rstrip("`")
        where = f"{param}.{name}" if param else name
        return bad_request(
            f"Missing required parameter: '{where}'.", where, "missing_required_parameter"
        )
    if reason.endswith(f"matching regex {WITHOUT_NUL!r}"):
        reason = NUL
    where = f" for '{param}'" if param else ""
    return bad_request(f"Invalid value{where}: {reason}.", param, "invalid_value")


def _unknown_parameters(body: bytes, type: type[Struct], reason: str) -> ApiError:
    try:
        given = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return bad_request(f"{reason}.", code="unknown_parameter")
    known = {field.encode_name for field in msgspec.structs.fields(type)}
    names = [name for name in given if name not in known]
    listed = ", ".join(f"'{name[:100]}'" for name in names[:20])
    plural = "s" if len(names) > 1 else ""
    return bad_request(
        f"Unknown parameter{plural}: {listed}.",
        names[0][:100] if names else None,
        "unknown_parameter",
    )


async def reply(
    send: Send,
    status: int,
    body: bytes,
    headers: RawHeaders = (),
    *,
    content_type: bytes = b"application/json",
) -> None:
    """Sends a whole response."""
    length = str(len(body)).encode()
    head = [(b"content-type", content_type), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
