"""The API's process ends in good order."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from pathlib import Path

import httpx
import psycopg
import pytest
import uvicorn
from tests.api.doubles import BASE, make_api
from tests.api.servers import listening

from liveweights.app import ApiServer, Supervisor
from liveweights.config import Config
from liveweights.store.embedded import EmbeddedPostgres

BODY = {"model": "tiny", "prompt": "say:", "max_tokens": 50, "stream": True}


def test_what_was_admitted_is_answered_when_the_server_is_told_to_stop() -> None:
    async def scenario() -> None:
        go = asyncio.Event()
        api = make_api("hello", pause=go.wait)
        before = signal.getsignal(signal.SIGTERM)
        server = ApiServer(uvicorn.Config(api.app, log_level="warning", access_log=False))
        with listening() as (sock, url):
            serving = asyncio.create_task(server.serve_and_drain([sock]))
            while not server.started:
                await asyncio.sleep(0.01)
            async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                asked = asyncio.create_task(client.post("/completions", json=BODY))
                while not api.engine.open:
                    await asyncio.sleep(0.01)
                serving.cancel()
                await asyncio.sleep(0.3)
                assert not serving.done()
                go.set()
                answer = await asked
            assert answer.text.endswith("data: [DONE]\n\n")
            with pytest.raises(asyncio.CancelledError):
                await serving
        assert api.recorder.only().output == "hello"
        assert (api.engine.open, api.router.in_use(BASE)) == (0, 0)
        # Nobody else's handler was replaced on the way.
        assert signal.getsignal(signal.SIGTERM) == before

    asyncio.run(scenario())


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
