"""Whose fault an error of Postgres is: of what was asked for, or of the server at this moment."""

from __future__ import annotations

import logging
from enum import Enum, auto

import psycopg

AWAY = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)
"""The errors of a server that is away, starting, full, only read from, or out of order: whoever
goes on for ever waits for it."""


class Fault(Enum):
    REQUEST = auto()
    """What was asked for will never be done: trying it again is of no use."""
    SERVER = auto()
    """It may be done later: the server is away, starting, full, busy, or not set up."""
    UNCLEAR = auto()
    """Either: something went wrong inside the server or on our side."""


# By the first two letters of the SQLSTATE, and by the whole where that says more.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_CLASSES = {
    **dict.fromkeys(("21", "22", "23", "44", "54", "P0"), Fault.REQUEST),
    **dict.fromkeys(
        ("08", "0L", "0P", "25", "28", "3D", "3F", "40", "42", "53", "55", "57", "58", "F0"),
        Fault.SERVER,
    ),
}
_CODES = {
    "08P01": Fault.UNCLEAR,  # a message that is longer than the server takes, among others
    "53200": Fault.UNCLEAR,  # no memory: for this, or for anything
}


def fault_of(error: Exception) -> Fault:
    """By SQLSTATE, never by psycopg's classes: its OperationalError is both a server that is away
    and an index entry that is too large.

    An error without SQLSTATE never reached the server, or not its answer: a connection that
    cannot be had or broke, or a value that cannot be sent.
    """
    if isinstance(error, psycopg.Error):
        if error.sqlstate:
            fault = _CODES.get(error.sqlstate) or _CLASSES.get(error.sqlstate[:2])
            return fault or Fault.UNCLEAR
        unsendable = isinstance(error, (psycopg.ProgrammingError, psycopg.DataError))
        return Fault.REQUEST if unsendable else Fault.SERVER
    if isinstance(error, (TypeError, ValueError, ArithmeticError)):
        return Fault.REQUEST
    return Fault.SERVER if isinstance(error, OSError) else Fault.UNCLEAR


def note_fault(log: logging.Logger, error: Exception, meanwhile: str) -> None:
    """Log what a loop that goes on whatever happens has met, with ``meanwhile``, what that means: a
    line where the server may be better next time, else with the traceback."""
    if fault_of(error) is Fault.SERVER:
        log.warning("%s: %s", meanwhile, error)
    else:
        log.error("%s", meanwhile, exc_info=error)
