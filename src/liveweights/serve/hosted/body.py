"""The one member of a request that is read, and written, on the way to a hosted model."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw


class _Named(msgspec.Struct):
    model: Any = None


_decode = msgspec.json.Decoder(_Named).decode
_members = msgspec.json.Decoder(dict[str, Raw]).decode


def read_model(body: bytes) -> str | None:
    """The model that ``body`` asks for; None where it is not JSON or names none."""
    try:
        name = _decode(body).model
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return name if isinstance(name, str) else None


def with_model(body: bytes, model: str) -> bytes:
    """``body``, a JSON object, asking for ``model``; the values of all other members are the same
    bytes.

    Some servers read names without regard to case, and of a name that comes twice the first: only
    one member says which model.
    """
    members = _members(body)
    kept = {name: value for name, value in members.items() if name.casefold() != "model"}
    return msgspec.json.encode({"model": model, **kept})
