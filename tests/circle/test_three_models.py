"""Three models in one service while two of them learn: the packaged one, a small one of real files,
and a hosted one, which a second service of ours runs."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import openai
import pytest
from tests.circle.service import SETTINGS, WANTED
from tests.learn.families import make_config, write_family

from liveweights.replay.client import Client, Reaction, Status
from liveweights.replay.service import Service, free_port, write_config
from liveweights.weights.models import DEFAULT_MODEL
from liveweights.weights.upcycle import upcycle

pytestmark = [pytest.mark.slow, pytest.mark.model, pytest.mark.fault, pytest.mark.timeout(3600)]
PROMOTIONS = 2
LEARNING = ("code", "small")
NAMES = (*LEARNING, "far")


def begin(folder: Path, settings: dict[str, Any]) -> Service:
    folder.mkdir()
    config = folder / "liveweights.toml"
    write_config(config, settings)
    return Service(folder / "home", config, free_port(), folder / "service.log")


async def start(stack: AsyncExitStack, folder: Path, settings: dict[str, Any]) -> Service:
    service = begin(folder, settings)
    stack.callback(service.stop)
    client = await stack.enter_async_context(Client(service.url, timeout=60))
    await service.wait(client, 240)
    return service


def show_logs(folder: Path) -> None:
    for log in folder.glob("*/service.log"):
        print(log.read_text(errors="replace")[-6000:])


@asynccontextmanager
async def running() -> AsyncGenerator[Service]:
    folder = Path(tempfile.mkdtemp(prefix="liveweights-three-"))
    dense = write_family(make_config("mistral"), folder / "dense")
    upcycle(dense, folder / "small-mixture", experts=2, top_k=1)
    try:
        async with AsyncExitStack() as stack:
            still = {"alias": "elsewhere", "engine": SETTINGS["engine"]}
            far = await start(stack, folder / "far", {**still, "cycle": {"min_feedback": 100_000}})
            models: dict[str, Any] = {
                "code": {"base": DEFAULT_MODEL},
                "small": {
                    "base": str(folder / "small-mixture"),
                    "engine": {"kind": "torch"},
                    "learn": {"learning_rate": 2e-2},
                },
                "far": {"upstream": far.url, "upstream_model": "elsewhere"},
            }
            few = {
                "learn": {**SETTINGS["learn"], "max_rows": 16},
                "cycle": {**SETTINGS["cycle"], "min_feedback": 20},
            }
            yield await start(stack, folder / "three", {**SETTINGS, **few, "models": models})
    except BaseException:
        show_logs(folder)
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def ask(official: openai.AsyncOpenAI, name: str, number: int, user: str) -> str:
    """Streamed and whole in turns; the generation's id."""
    asked: dict[str, Any] = {
        "model": name,
        "prompt": f"def {user}_step_{number}(value, limit):\n    result =",
        "temperature": 0.7,
        "max_tokens": 6,
        "user": user,
        "extra_body": {"metadata": {"session": f"{user}-{number // 3}"}},
    }
    if number % 2:
        raw = await official.completions.with_raw_response.create(**asked)
        raw.parse()
    else:
        raw = await official.completions.with_raw_response.create(**asked, stream=True)
        assert [chunk async for chunk in raw.parse()]
    assert raw.headers["x-model"] == name
    return raw.headers["x-generation-id"]


def test_promotions_of_two_models_fail_no_request_of_any() -> None:
    answered = Counter[str]()

    async def use(service: Service, name: str, number: int) -> None:
        """Somebody who asks and writes something else than was answered, for ever."""
        user = f"{name}_{number}"
        async with (
            openai.AsyncOpenAI(
                base_url=f"{service.url}/v1", api_key="any", max_retries=0, timeout=60
            ) as official,
            Client(service.url, timeout=60) as client,
        ):
            for turn in range(10**6):
                generation = await ask(official, name, turn, user)
                await client.feedback(
                    generation, Reaction("rejected"), Reaction("correction", WANTED)
                )
                answered[name] += 1
                await asyncio.sleep(1.0)

    async def released(http: httpx.AsyncClient, users: list[asyncio.Task[None]]) -> None:
        there = dict.fromkeys(LEARNING, 0)
        while min(there.values()) < PROMOTIONS:
            for user in users:
                if user.done():
                    user.result()  # raises what went wrong
            for name in LEARNING:
                answer = await http.get("/status", params={"model": name})
                there[name] = msgspec.json.decode(answer.content, type=Status).releases
            await asyncio.sleep(0.5)

    async def go() -> None:
        async with (
            running() as service,
            httpx.AsyncClient(base_url=service.url, timeout=60) as http,
        ):
            async with asyncio.timeout(120):
                while {m["id"] for m in (await http.get("/v1/models")).json()["data"]} != {*NAMES}:
                    await asyncio.sleep(0.1)
            users = [
                asyncio.create_task(use(service, name, number))
                for name in NAMES
                for number in range(3 if name in LEARNING else 1)
            ]
            await released(http, users)
            for user in users:
                user.cancel()
            await asyncio.gather(*users, return_exceptions=True)
            assert min(answered[name] for name in NAMES) > PROMOTIONS

    asyncio.run(go())
