"""Members of a request's body that servers read otherwise than it is checked here. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from typing import Any, Literal, get_args

import msgspec
from msgspec import Raw

from liveweights.http.errors import bad_request, unsupported

Extra = Literal["models", "plugins", "preset", "provider", "service_tier", "web_search_options"]
BEYOND: frozenset[str] = frozenset(get_args(Extra))
"""Members by which upstreams let a request choose another model, or what costs more than its
tokens: prices, budgets, rights and terms here are of the model that was asked for alone."""
COUNTED = frozenset(
    {"model", "max_tokens", "max_completion_tokens", "max_output_tokens", "n_predict"}
    | {"n", "best_of", "stream", "background"}
)
"""Members that say what a request may use, and whether it is charged."""

STANDARD = ("auto", "default")
"""Tiers that cost what is known: what the operator has set there, or the price of the list."""

_NAMED = re.compile(rb'"(' + "|".join(sorted(COUNTED)).encode() + rb')"\s*:')
_members = msgspec.json.Decoder(dict[str, Raw]).decode


def check_members(body: bytes, allowed: Collection[str]) -> None:
    """``body`` is a JSON object in which every server reads the same model and limits, and which
    chooses nothing ``BEYOND`` these but what is ``allowed``. Raises ApiError 400."""
    members = _list_members(body)
    names = [name for name, _ in members]
    if misread := find_misread(names):
        message = (
            f"Servers differ in what they make of {', '.join(map(repr, misread))}: say each of "
            "these once, in small letters."
        )
        raise bad_request(message, misread[0], "ambiguous_parameter")
    beyond = [name for name, value in members if is_beyond(name) and not _is_free(name, value)]
    if beyond := [name for name in beyond if name.casefold() not in allowed]:
        message = (
            f"{', '.join(map(repr, beyond))} may choose another model, or what costs more than its "
            "tokens, at the server behind this gateway; ask without."
        )
        raise unsupported(beyond[0], message)


def is_beyond(name: str) -> bool:
    return name.casefold() in BEYOND


def is_disguised(name: str) -> bool:
    """Whether some servers, which read names without regard to case, take it for one of
    ``COUNTED``."""
    return name not in COUNTED and name.casefold() in COUNTED


def find_misread(names: Iterable[str]) -> list[str]:
    """Those of a body's members that are ``COUNTED`` for some servers and not for others, because
    of their letters, or because they come twice."""
    seen, found = set[str](), list[str]()
    for name in names:
        if is_disguised(name) or name in COUNTED & seen:
            found.append(name)
        seen.add(name)
    return found


def _is_free(name: str, value: Any) -> bool:
    """Whether a member ``BEYOND`` chooses nothing: some clients send all that they know."""
    said = msgspec.json.decode(value) if isinstance(value, Raw) else value
    return said is None or (name == "service_tier" and said in STANDARD)


def _list_members(body: bytes) -> list[tuple[str, Any]]:
    """Of an object, as often as they come: names, and values as bytes or decoded."""
    written = _NAMED.findall(body)
    try:
        members = _members(body)
    except msgspec.DecodeError:
        members = None  # half of a surrogate pair
    if members is not None and len(written) == len(set(written)) and b"\\u" not in body:
        return list(members.items())
    try:
        return json.loads(body, object_pairs_hook=list)
    except RecursionError:
        raise bad_request("The request body is nested too deeply.") from None
