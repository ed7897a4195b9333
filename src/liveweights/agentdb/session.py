"""SQL run as one of a database's own roles, within bounds."""

from __future__ import annotations

import asyncio

from psycopg import AsyncConnection

from liveweights.agentdb.errors import Refused
from liveweights.store import results
from liveweights.store.results import Bounds, Result, Unreadable

ANSWER = 16 * 2**20
"""Most bytes of all results together that are kept, whatever the number of rows."""


async def run(
    dsn: str, text: str, *, rows: int, seconds: float, answer: int = ANSWER
) -> list[Result]:
    """The result of every statement in ``text``, see ``liveweights.store.results``; of all together
    ``answer`` bytes are kept.

    Raises psycopg.Error, and Refused after ``seconds``, on COPY from or to the client, and for what
    cannot be sent or read.
    """
    # Said here, as a role may have been given another one: the statement is sent in it.
    conn = await AsyncConnection.connect(dsn, autocommit=True, client_encoding="utf8")
    try:
        async with asyncio.timeout(seconds):
            return await results.run(conn, text, Bounds(rows, answer))
    except TimeoutError:
        raise Refused(
            f"it ran longer than {seconds:g} s and was cancelled; connect to the database "
            "for longer work"
        ) from None
    except Unreadable as error:
        raise Refused(str(error)) from error
    finally:
        await conn.close()
