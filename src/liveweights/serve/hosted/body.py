"""The members of a request that are read, and written, on the way to a hosted model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw

from liveweights.serve.gateway.members import is_beyond, is_disguised
from liveweights.serve.hosted.dialect import Quirk, adapt

OURS = frozenset({"model", "route"})
"""Members that are for this server."""


class Asked(msgspec.Struct, frozen=True):
    """Which model is asked for, and what it must be; any values."""

    model: Any = None
    route: Any = None


_decode = msgspec.json.Decoder(Asked).decode
_members = msgspec.json.Decoder(dict[str, Raw]).decode


def read_asked(body: bytes) -> Asked | None:
    """What ``body`` asks for; None where it is not JSON or names no model."""
    try:
        asked = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return asked if isinstance(asked.model, str) else None


def with_model(body: bytes, model: str, quirks: Sequence[Quirk] = ()) -> tuple[bytes, list[str]]:
    """``body``, a JSON object, asking for ``model``, without a route and without what would go
    ``BEYOND`` that model or be a limit for some servers only, which are named; the values of all
    other members are the same bytes, but for those that the upstream's ``quirks`` are about.

    Some servers read names without regard to case, and of a name that comes twice the first: only
    one member says which model, and one each limit.
    """
    members = {n: value for n, value in _members(body).items() if n.casefold() not in OURS}
    left_out = [name for name in members if is_beyond(name) or is_disguised(name)]
    kept = {name: value for name, value in members.items() if name not in left_out}
    return msgspec.json.encode({"model": model, **adapt(kept, quirks)}), left_out
