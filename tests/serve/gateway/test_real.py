"""The command, a real upstream, and Postgres."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import aiohttp
import psycopg
from aiohttp import web

from .stub import USAGE, WORDS, Stub, streamed


def test_up_with_an_upstream(database_dsn: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def run() -> str:
        stub = web.Application()
        stub.router.add_post("/v1/chat/completions", Stub().handle)
        runner = web.AppRunner(stub)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        upstream = "http://{}:{}".format(*runner.addresses[0][:2])
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from liveweights.cli import main; main()", "up"),
            *("--upstream", upstream, "--port", str(port), "--home", str(tmp_path)),
            env={**os.environ, "LIVEWEIGHTS_DATABASE_URL": database_dsn},
        )
        try:
            return await use(f"http://127.0.0.1:{port}")
        finally:
            process.send_signal(signal.SIGTERM)
            await process.wait()
            await runner.cleanup()

    async def use(url: str) -> str:
        asked = {"model": "big", "messages": [{"role": "user", "content": "?"}], "stream": True}
        async with aiohttp.ClientSession(url) as client, asyncio.timeout(240):
            while True:
                try:
                    async with client.post("/v1/chat/completions", json=asked) as response:
                        assert await response.read() == b"".join(streamed())
                        id = response.headers["x-generation-id"]
                        break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.1)
            said = {"generation": id, "signal": "correction", "text": "Paris."}
            async with client.post("/v1/feedback", json=said) as response:
                assert response.status == 201
        return id

    id = asyncio.run(run())
    with psycopg.connect(database_dsn) as conn:
        [(output, usage, prompt, signal_)] = conn.execute(
            "select g.output, g.usage, g.prompt, f.signal from generations g"
            " join feedback f on f.generation = g.id where g.id = %s",
            (id,),
        ).fetchall()
    assert (output, usage, signal_) == ("".join(WORDS), USAGE, "correction")
    assert json.loads(prompt) == {"messages": [{"role": "user", "content": "?"}]}
