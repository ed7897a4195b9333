"""What the supervisor minds, and how a process ends."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import httpx
import psycopg
import pytest
from tests.folders import make_folder
from tests.processes import list_children
from tests.serve.gateway.stub import Stub, serve_stub

from liveweights import deadlines
from liveweights.access.oidc_settings import OidcSettings
from liveweights.access.users import list_users
from liveweights.app.place import Place
from liveweights.app.running import read_running
from liveweights.app.supervisor import Supervisor
from liveweights.config import Config
from liveweights.replay.service import free_port
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.gateway.settings import GatewaySettings
from liveweights.store.database import Connection
from liveweights.store.embedded import EmbeddedPostgres


@pytest.mark.fault
def test_a_database_that_was_told_politely_to_end_is_started_again() -> None:
    """Its clients never leave, so it would let nobody else in for ever."""
    home = make_folder()
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


@pytest.mark.fault
def test_no_answer_is_lost_when_told_to_end_while_the_database_hangs(
    database_dsn: str, tmp_path: Path
) -> None:
    """The process is gone well before it would be killed; the next one writes what it left."""

    async def scenario() -> None:
        async with serve_stub(Stub()) as url:
            config = Config(
                gateway=GatewaySettings(upstream=url), api=ApiSettings(port=free_port())
            )
            place = Place(config, tmp_path, database_dsn)
            root = f"http://127.0.0.1:{config.api.port}"
            async with httpx.AsyncClient(base_url=root, timeout=60) as client:
                gateway = await start(place, client)
                async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
                    await conn.execute("lock table generations in access exclusive mode")
                    body = {"model": "big", "messages": [{"role": "user", "content": "?"}]}
                    answer = await client.post("/v1/chat/completions", json=body)
                    assert answer.status_code == 200
                    generation = answer.headers["x-generation-id"]
                    gateway.send_signal(signal.SIGTERM)
                    async with asyncio.timeout(deadlines.PATIENCE - deadlines.DRAIN):
                        await gateway.wait()
                    assert gateway.returncode == 0
                gateway = await start(place, client)
                reaction = {"generation": generation, "signal": "accepted"}
                assert (await client.post("/v1/feedback", json=reaction)).status_code == 201
                since = int(time.time()) - 3600
                page = (await client.get("/v1/usage", params={"start_time": since})).json()
                results = [result for bucket in page["data"] for result in bucket["results"]]
                assert sum(result["num_model_requests"] for result in results) == 1
                gateway.send_signal(signal.SIGTERM)
                await gateway.wait()

    asyncio.run(scenario())


@pytest.mark.fault
def test_a_start_right_after_the_supervisor_was_killed_waits_for_the_answer_that_is_under_way(
    database_dsn: str, tmp_path: Path
) -> None:
    """The killed one's process answers to the end, and has the record's files meanwhile."""

    async def scenario() -> None:
        stub = Stub(gate=asyncio.Event())
        assert stub.gate is not None
        async with serve_stub(stub) as url, asyncio.timeout(250):
            api = ApiSettings(port=free_port())
            config = Config(gateway=GatewaySettings(upstream=url), api=api)
            place = Place(config, tmp_path, database_dsn)
            root = f"http://127.0.0.1:{api.port}"
            async with httpx.AsyncClient(base_url=root, timeout=120) as client:
                orphan = await start(place, client)
                body = {
                    "model": "big",
                    "messages": [{"role": "user", "content": "?"}],
                    "stream": True,
                }
                asking = asyncio.create_task(client.post("/v1/chat/completions", json=body))
                while not any(method == "POST" for method, *_ in stub.requests):
                    await asyncio.sleep(0.05)
                assert orphan.stdin is not None
                orphan.stdin.close()  # as by kill -9
                supervisor = Supervisor(config, tmp_path, ("gateway",))
                minding = asyncio.create_task(supervisor._mind("gateway", place))
                await asyncio.sleep(deadlines.DRAIN / 2)  # long enough for a few deaths
                stub.gate.set()
                assert (await asking).status_code == 200
                await orphan.wait()
                await until_well(client)
                assert not minding.done()
                assert supervisor._gave_up is None
            supervisor._stopping.set()
            await minding

    asyncio.run(scenario())


@pytest.mark.fault
def test_a_process_that_is_alive_and_answers_nobody_is_ended_and_started_again(
    database_dsn: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with serve_stub(Stub()) as url, asyncio.timeout(250):
            api = ApiSettings(port=free_port(), deaf_seconds=5)
            config = Config(gateway=GatewaySettings(upstream=url), api=api)
            supervisor = Supervisor(config, tmp_path, ("gateway",))
            place = Place(config, tmp_path, database_dsn)
            minding = asyncio.create_task(supervisor._mind("gateway", place))
            root = f"http://127.0.0.1:{api.port}"
            async with httpx.AsyncClient(base_url=root, timeout=2) as client:
                await until_well(client)
                (first,) = list_children("gateway")
                os.kill(first, signal.SIGSTOP)
                with pytest.raises(httpx.TransportError):
                    await client.get("/healthz")
                while first in list_children("gateway"):
                    await asyncio.sleep(0.1)
                await until_well(client)
                assert not minding.done()
            supervisor._stopping.set()
            await minding
        assert not list_children("gateway")

    asyncio.run(scenario())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0"])
def test_a_service_on_a_port_of_nobodys_choice_is_where_all_say(
    host: str, database_dsn: str, tmp_path: Path
) -> None:
    """Its supervisor, its home, and what each of its processes is told."""

    async def scenario() -> None:
        async with serve_stub(Stub()) as upstream, asyncio.timeout(250):
            config = Config(
                database=database_dsn,
                gateway=GatewaySettings(upstream=upstream),
                api=ApiSettings(host=host, port=0, open=True),
            )
            supervisor = Supervisor(config, tmp_path, ("gateway",))
            running = asyncio.create_task(supervisor.run())
            while (told := read_running(tmp_path)) is None:
                assert not running.done()
                await asyncio.sleep(0.05)
            assert told.url == Place(told.config, tmp_path, "").url
            async with httpx.AsyncClient(base_url=told.url, timeout=2) as client:
                await until_well(client)
            while not supervisor._welcomed:
                await asyncio.sleep(0.05)
            assert read_running(tmp_path) == told
            supervisor._stopping.set()
            await running

    asyncio.run(scenario())


async def until_well(client: httpx.AsyncClient) -> None:
    while True:
        try:
            if (await client.get("/healthz")).status_code == 200:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.1)


async def start(place: Place, client: httpx.AsyncClient) -> asyncio.subprocess.Process:
    with open(os.devnull, "wb") as unread:  # noqa: ASYNC230
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "liveweights.app", "gateway", str(unread.fileno())),
            stdin=asyncio.subprocess.PIPE,
            pass_fds=(unread.fileno(),),
        )
    assert process.stdin is not None
    process.stdin.write(place.encode().encode() + b"\n")
    async with asyncio.timeout(120):
        while True:
            try:
                if (await client.get("/healthz")).status_code == 200:
                    return process
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("issuer", ["", "https://id.acme.test"])
def test_a_start_invites_an_admin_only_where_no_provider_says_who_people_are(
    database_dsn: str, tmp_path: Path, issuer: str
) -> None:
    supervisor = Supervisor(Config(oidc=OidcSettings(issuer=issuer)), tmp_path)
    supervisor._dsn = database_dsn

    async def start() -> tuple[bool, list[str]]:
        invited = await supervisor._invite() is not None
        async with await Connection.connect(database_dsn) as conn:
            return invited, [one.name for one in await list_users(conn)]

    assert asyncio.run(start()) == ((False, []) if issuer else (True, ["admin"]))
