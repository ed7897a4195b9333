from __future__ import annotations

import asyncio

import psycopg
import pytest

from liveweights.record.archive_lock import locked
from liveweights.record.archive_rows import ArchiveError


def test_one_has_it_and_the_next_gets_it(database_dsn: str) -> None:
    async def main() -> None:
        connect = psycopg.AsyncConnection.connect
        async with await connect(database_dsn) as one, await connect(database_dsn) as other:
            async with locked(one):
                async with locked(one):  # again
                    pass
                with pytest.raises(ArchiveError, match="another process archives"):
                    async with locked(other, patience_ms=50):
                        pass
            async with locked(other, patience_ms=50):
                pass

    asyncio.run(main())


def test_whatever_fails_it_is_given_back(database_dsn: str) -> None:
    async def main() -> None:
        connect = psycopg.AsyncConnection.connect
        async with await connect(database_dsn) as one, await connect(database_dsn) as other:
            with pytest.raises(psycopg.errors.UndefinedTable):
                async with locked(one):
                    await one.execute("select from nowhere")
            async with locked(other, patience_ms=50):
                pass

    asyncio.run(main())
