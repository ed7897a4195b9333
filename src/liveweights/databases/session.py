"""SQL run as one of a database's own roles, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import psycopg
from psycopg import AsyncConnection, errors, generators
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus

from liveweights.databases.errors import Refused

Row = tuple[Any, ...]
ANSWER = 16 * 2**20
"""Most bytes of one result that are kept, whatever the number of rows."""


@dataclass(slots=True)
class Result:
    """What one statement gave. ``status`` is Postgres's own, e.g. ``INSERT 0 3``."""

    columns: Sequence[str] = ()
    rows: list[Row] = field(default_factory=list[Row])
    status: str = ""
    truncated: bool = False
    """Whether there were more rows than were asked for, or than fit."""


async def run(dsn: str, text: str, *, rows: int, seconds: float) -> list[Result]:
    """The result of every statement in ``text``, all in one transaction unless it says otherwise.

    Rows beyond ``rows``, or beyond ``ANSWER`` bytes, are read and thrown away one by one, so that
    a large answer costs no memory here and the statements after it still run.
    Raises psycopg.Error, and Refused after ``seconds`` or on COPY from or to the client.
    """
    conn = await AsyncConnection.connect(dsn, autocommit=True)
    try:
        async with asyncio.timeout(seconds):
            return await _run(conn, text, rows)
    except TimeoutError:
        raise Refused(
            f"it ran longer than {seconds:g} s and was cancelled; connect to the database "
            "for longer work"
        ) from None
    finally:
        await conn.close()


async def _run(conn: AsyncConnection[Any], text: str, limit: int) -> list[Result]:
    pgconn = conn.pgconn
    pgconn.send_query(text.encode())
    pgconn.set_single_row_mode()
    await conn.wait(generators.send(pgconn))
    transformer = Transformer(conn)
    results: list[Result] = []
    current: Result | None = None
    size = 0
    while (found := await conn.wait(generators.fetch(pgconn))) is not None:
        match found.status:
            case ExecStatus.FATAL_ERROR:
                raise errors.error_from_result(found, encoding=conn.info.encoding)
            case ExecStatus.COPY_IN | ExecStatus.COPY_OUT | ExecStatus.COPY_BOTH:
                raise Refused("COPY from or to the client needs a connection of its own: `connect`")
            case ExecStatus.EMPTY_QUERY:
                continue
            case _:
                pass
        if current is None:
            current, size = Result(columns=_columns(found)), 0
        if found.ntuples:
            size += sum(len(found.get_value(0, i) or b"") for i in range(found.nfields))
            if len(current.rows) < limit and size <= ANSWER and not current.truncated:
                transformer.set_pgresult(found)
                current.rows += transformer.load_rows(0, found.ntuples, tuple)
            else:
                current.truncated = True
        if found.status != ExecStatus.SINGLE_TUPLE:
            current.status = (found.command_status or b"").decode()
            results.append(current)
            current = None
    return results


def _columns(found: psycopg.pq.abc.PGresult) -> list[str]:
    return [(found.fname(number) or b"?").decode() for number in range(found.nfields)]


def plain(value: object) -> Any:
    """A value as JSON has it; what JSON has no word for becomes text."""
    return msgspec.to_builtins(value, enc_hook=str)
