"""The API's process ends in good order."""

from __future__ import annotations

import asyncio
import signal

import httpx
import pytest
import uvicorn
from tests.api.doubles import BASE, make_api
from tests.api.servers import listening

from liveweights.app import ApiServer

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
