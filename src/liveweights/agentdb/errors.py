"""What can go wrong that a caller can do something about."""

from __future__ import annotations

import psycopg

from liveweights.excerpt import shorten

MESSAGE = 8_000
"""Characters of what Postgres says of an error: it may quote a value, however long."""


class Refused(ValueError):
    """It is not allowed, or not possible now; the message says what would be."""


class NoDatabase(LookupError):
    """There is no such database, or it is somebody else's."""


class HostError(RuntimeError):
    """The server of the databases does not run; the message has the tail of its log."""


def tell(error: psycopg.Error) -> str:
    """What Postgres says, after its code; the middle of a long message is cut."""
    return f"{error.sqlstate or 'no connection'}: {shorten(str(error).strip(), MESSAGE)}"
