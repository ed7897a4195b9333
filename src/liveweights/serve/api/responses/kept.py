"""What is kept of conversations, and what is said where it cannot be."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

from liveweights.http.errors import RETRY, ApiError, bad_request
from liveweights.record.clean import clean_text
from liveweights.record.errors import StoreAway, Unstorable


def storable(value: Any) -> Any:
    """``value`` with texts that Postgres' JSON can hold."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, list):
        return [storable(item) for item in cast(list[Any], value)]
    if isinstance(value, dict):
        members = cast(dict[str, Any], value)
        return {clean_text(name): storable(member) for name, member in members.items()}
    return value


@contextmanager
def reachable() -> Generator[None]:
    """Raises ApiError 503 where the database is away, 400 for what it will never take."""
    try:
        yield
    except Unstorable as error:
        message = f"The response cannot be kept: {error}. Send 'store': false, or less."
        raise bad_request(message, None, "invalid_value") from error
    except StoreAway as error:
        message = f"The conversation cannot be read or kept at the moment: {error}."
        code = "database_unavailable"
        raise ApiError(503, message, type="server_error", code=code, headers=RETRY) from error
