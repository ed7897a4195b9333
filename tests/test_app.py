"""What the supervisor minds."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from pathlib import Path

import psycopg
import pytest

from liveweights.app import Supervisor
from liveweights.config import Config
from liveweights.store.embedded import EmbeddedPostgres


@pytest.mark.fault
def test_a_database_that_was_told_politely_to_end_is_started_again() -> None:
    """Its clients never leave, so it would let nobody else in for ever."""
    home = Path(tempfile.mkdtemp(prefix="liveweights-tests-"))
    home.chmod(0o711)
    server = EmbeddedPostgres(home / "postgres", settings={"fsync": "off"})

    async def scenario() -> None:
        dsn = await asyncio.to_thread(server.start)
        minding = asyncio.create_task(Supervisor(Config(), home)._mind_postgres(server))
        try:
            client = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
            await client.execute("select 1")
            async with asyncio.timeout(120):
                first = server.pid
                assert first is not None
                os.kill(first, signal.SIGTERM)
                while server.pid in (first, None) or not server.is_running():
                    await asyncio.sleep(0.05)
            with pytest.raises(psycopg.OperationalError):
                await client.execute("select 1")
            while True:
                try:
                    async with await psycopg.AsyncConnection.connect(dsn) as other:
                        await other.execute("select 1")
                    break
                except psycopg.OperationalError:
                    await asyncio.sleep(0.05)
        finally:
            minding.cancel()

    try:
        asyncio.run(scenario())
    finally:
        server.destroy()
        shutil.rmtree(home, ignore_errors=True)
