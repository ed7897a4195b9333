"""What a command says of an error of the service's database."""

from __future__ import annotations

import psycopg

from liveweights.store.migrate import find_mismatch

_AWAY = ("08", "57P", "53300")
"""Beginnings of SQLSTATEs: no connection, a server that starts or ends, one with too many."""


def describe_fault(dsn: str, error: psycopg.Error) -> str | None:
    """In a sentence; None for a fault of this program, which is told with its traceback."""
    state = error.sqlstate
    if state is None:
        lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        return f"the database cannot be reached: {error}" if lost else None
    if state.startswith(_AWAY):
        return f"the database cannot be reached: {error}"
    if state.startswith("42") and not isinstance(error, psycopg.errors.InsufficientPrivilege):
        return find_mismatch(dsn)
    return f"the database refuses: {error}"
