"""Runs statements that somebody wrote, and reads what each gave, whatever that is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import errors, generators
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from liveweights.store.database import Connection
from liveweights.store.values import convert

Row = tuple[Any, ...]
CHANGES = re.compile(r"client_encoding|set\s+(session\s+|local\s+)?names\b", re.IGNORECASE)
"""Statements that may change in which encoding answers come, and change it back."""


class Unreadable(ValueError):
    """A statement that cannot be sent, or an answer that cannot be given; the message says why."""


@dataclass(slots=True)
class Result:
    """What one statement gave. ``status`` is Postgres's own, e.g. ``INSERT 0 3``.

    Values are as JSON has them, else as text, see ``liveweights.store.values``.
    """

    columns: Sequence[str] = ()
    rows: list[Row] = field(default_factory=list[Row])
    status: str = ""
    truncated: bool = False
    """Whether there were more rows than were asked for, or than fit."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Rows of one result, and bytes of all results together, that are kept; None: all."""

    rows: int | None = None
    size: int | None = None

    def hold(self, rows: int, size: int) -> bool:
        """Whether there is room for one more row, which makes it ``size`` bytes."""
        return (self.rows is None or rows < self.rows) and (self.size is None or size <= self.size)


async def run(conn: Connection, text: str, most: Bounds | None = None) -> list[Result]:
    """The result of every statement in ``text``, all in one transaction unless it says otherwise.

    Rows beyond ``most`` are read and thrown away one by one, so that a large answer costs no memory
    here and the statements after it still run. ``conn`` is in autocommit. Raises psycopg.Error and
    Unreadable; after an error the connection may be used again.
    """
    reader = _Reader(_encoding(conn), most or Bounds())
    pgconn = conn.pgconn
    pgconn.send_query(encode(text, reader.encoding))
    pgconn.set_single_row_mode()
    await conn.wait(generators.send(pgconn))
    failure: Exception | None = None
    while (result := await conn.wait(generators.fetch(pgconn))) is not None:
        if failure is not None:
            continue
        try:
            reader.read(result)
        except psycopg.Error as error:
            failure = error
        except Unreadable as error:
            failure = error
            await conn.cancel_safe()
            if result.status in (ExecStatus.COPY_IN, ExecStatus.COPY_OUT):
                await _leave_copy(conn, result.status)
                break
    if failure is not None:
        raise failure
    # When a batch is over the server says which encoding it has left, not when it changed.
    if reader.beyond_ascii and (_encoding(conn) != reader.encoding or CHANGES.search(text)):
        raise Unreadable(
            "the statements change client_encoding, so that nobody knows in which encoding their "
            "answers come; leave it as it is, or change it in a call of its own"
        )
    return reader.results


def encode(text: str, encoding: str = "utf-8") -> bytes:
    """For Postgres. Raises Unreadable for what it could not take as it is."""
    if (place := text.find("\0")) >= 0:
        raise Unreadable(
            f"character {place + 1} of the statement is NUL, which Postgres cannot hold; "
            "leave it out, or keep such data as bytea"
        )
    try:
        return text.encode(encoding)
    except UnicodeEncodeError as error:
        half = 0xD800 <= ord(text[error.start]) <= 0xDFFF
        what = "half of a surrogate pair" if half else f"not in the session's encoding, {encoding}"
        raise Unreadable(f"character {error.start + 1} of the statement is {what}") from None


def _encoding(conn: Connection) -> str:
    """Python's name for what the session speaks now; ascii where there is none."""
    if conn.pgconn.parameter_status(b"client_encoding") == b"SQL_ASCII":
        return "utf-8"  # not converted: it comes as the database has it
    try:
        return conn.info.encoding
    except psycopg.NotSupportedError:
        return "ascii"


@dataclass(slots=True)
class _Reader:
    """Puts together the results of one batch."""

    encoding: str
    most: Bounds
    results: list[Result] = field(default_factory=list[Result])
    beyond_ascii: bool = False
    _current: Result | None = None
    _size: int = 0

    def read(self, result: PGresult) -> None:
        """One row, the end of a statement, or what went wrong. Raises psycopg.Error, Unreadable."""
        match result.status:
            case ExecStatus.FATAL_ERROR | ExecStatus.BAD_RESPONSE:
                raise errors.error_from_result(result, encoding=self.encoding)
            case ExecStatus.COPY_IN | ExecStatus.COPY_OUT | ExecStatus.COPY_BOTH:
                raise Unreadable("COPY from or to the client needs a connection of its own")
            case ExecStatus.EMPTY_QUERY:
                return
            case _:
                pass
        current = self._current
        if current is None:
            names = [self._text(result.fname(number) or b"?") for number in range(result.nfields)]
            current = self._current = Result(columns=names)
        if result.ntuples:
            size = self._size + sum(
                len(result.get_value(0, i) or b"") for i in range(result.nfields)
            )
            current.truncated |= not self.most.hold(len(current.rows), size)
            if not current.truncated:
                self._size = size
                current.rows.append(self._row(result))
        if result.status != ExecStatus.SINGLE_TUPLE:
            current.status = self._text(result.command_status or b"")
            self.results.append(current)
            self._current = None

    def _row(self, result: PGresult) -> Row:
        values: list[Any] = []
        for column in range(result.nfields):
            data = result.get_value(0, column)
            if data is not None and result.fformat(column):
                raise Unreadable("a BINARY cursor gives no text; declare it without BINARY")
            values.append(None if data is None else convert(self._text(data), result.ftype(column)))
        return tuple(values)

    def _text(self, data: bytes) -> str:
        self.beyond_ascii = self.beyond_ascii or not data.isascii()
        try:
            return data.decode(self.encoding)
        except UnicodeDecodeError as error:
            raise Unreadable(
                f"an answer cannot be read as {self.encoding} ({error.reason}): did the statements "
                "change client_encoding? Leave it as it is, or change it in a call of its own"
            ) from None


async def _leave_copy(conn: Connection, status: int) -> None:
    try:
        if status == ExecStatus.COPY_IN:
            await conn.wait(generators.copy_end(conn.pgconn, b"nothing is sent"))
        while status == ExecStatus.COPY_OUT:
            if not isinstance(await conn.wait(generators.copy_from(conn.pgconn)), memoryview):
                break
    except psycopg.Error:
        pass  # that it was cancelled is what was wanted
