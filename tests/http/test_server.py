"""The API's process ends in good order."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import socket
from typing import Any

import httpx
import pytest
from tests.serve.api.doubles import BASE, make_api
from tests.serve.api.servers import listening

from liveweights.http.server import PortTaken, Server, allow_connections, bind
from liveweights.serve.api.settings import ApiSettings

BODY = {"model": "tiny", "prompt": "say:", "max_tokens": 50, "stream": True}


def test_what_was_admitted_is_answered_when_the_server_is_told_to_stop() -> None:
    async def scenario() -> None:
        go = asyncio.Event()
        api = make_api("hello", pause=go.wait)
        before = signal.getsignal(signal.SIGTERM)
        server = Server(api.app, ApiSettings())
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


def test_what_goes_on_for_ever_is_ended_when_the_server_is_told_to_stop() -> None:
    async def scenario() -> None:
        leaving, looking = asyncio.Event(), asyncio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            looking.set()
            await leaving.wait()
            await send({"type": "http.response.body", "body": b"bye"})

        server = Server(app, ApiSettings())
        with listening() as (sock, url):
            serving = asyncio.create_task(server.serve_and_drain([sock], leave=leaving.set))
            while not server.started:
                await asyncio.sleep(0.01)
            async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                asked = asyncio.create_task(client.get("/"))
                await looking.wait()
                serving.cancel()
                assert (await asked).text == "bye"
            with pytest.raises(asyncio.CancelledError):
                await serving

    asyncio.run(scenario())


def test_what_takes_too_long_is_cut_off_and_recorded_as_far_as_it_got() -> None:
    async def scenario() -> None:
        seen = 0

        async def pause() -> None:
            nonlocal seen
            seen += 1
            if seen == 3:
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(0.3)  # an engine is not told to stop in no time

        api = make_api("hello", pause=pause)
        server = Server(api.app, ApiSettings(), patience=1)
        with listening() as (sock, url):
            serving = asyncio.create_task(server.serve_and_drain([sock]))
            while not server.started:
                await asyncio.sleep(0.01)
            async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                asked = asyncio.create_task(client.post("/completions", json=BODY))
                while seen < 3:
                    await asyncio.sleep(0.01)
                serving.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await serving
                # Whoever closes the record now closes it after this.
                assert api.recorder.only().output == "he"
                assert api.recorder.only().finish_reason == "cancelled"
                with pytest.raises(httpx.HTTPError):
                    await asked

    asyncio.run(scenario())


def test_it_says_where_it_listens_once_it_does(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "liveweights.http.server")

    async def scenario() -> None:
        server = Server(make_api().app, ApiSettings(port=0))
        serving = asyncio.create_task(server.serve_and_drain())
        while not caplog.messages:
            await asyncio.sleep(0.01)
        [said] = caplog.messages
        url = said.removeprefix("listening on ")
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/healthz")).status_code == 200
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    asyncio.run(scenario())


def test_it_does_not_say_so_where_the_port_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "liveweights.http.server")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = Server(make_api().app, ApiSettings(port=taken.getsockname()[1]))
        with pytest.raises(SystemExit):
            asyncio.run(server.serve_and_drain())
    assert not caplog.messages


def test_connections_fit_into_the_files_that_may_be_open() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, before[1]))
        assert allow_connections(200) == 200
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 400
        assert allow_connections(10**9) < 10**9
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_port_that_somebody_has_is_named() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"Port {port} on 127.0.0.1 is in use") as refused:
            bind("127.0.0.1", port)
        assert refused.value.in_use
    for one in bind("127.0.0.1", port):
        one.close()


@pytest.mark.parametrize("host", ["no such host", "203.0.113.1"])
def test_an_address_that_is_not_ours_is_named(host: str) -> None:
    with pytest.raises(PortTaken, match=f"Port 8090 on {host} cannot be had: ") as refused:
        bind(host, 8090)
    assert not refused.value.in_use


def test_every_address_of_a_name_is_listened_on() -> None:
    found = socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)
    bound = bind("localhost", 0)
    assert 1 <= len(bound) <= len(found)
    for one in bound:
        one.close()
