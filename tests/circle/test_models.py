"""Several models in one service: each with its own tokenizer, engine, alias and cycles."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import openai
import pytest
from tests.learn.families import make_config, make_family, write_family

from liveweights.replay.client import Client, Reaction, Status
from liveweights.replay.service import Service, free_port, write_config

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(600)]

OPERATOR = "0123456789abcdef-operator"
BARRED = """
[[terms]]
name = "not-today"
when = ["load"]
on = { model = ["barred", "refused"] }
then = "deny"
reason = "it is not looked at yet"
"""
SETTINGS: dict[str, Any] = {
    "prices": {"stable": {"input": 1.0, "output": 1.0}},
    "api": {"operator_key": OPERATOR},
    "engine": {"kind": "torch", "context_length": 128, "threads": 1, "slots": 2},
    "learn": {"threads": 1, "dtype": "float32", "max_rows": 16, "held_back_share": 0.4},
    "cycle": {"min_feedback": 100_000, "rest": 0.0, "poll": 0.1, "lease": 5.0},
}


@asynccontextmanager
async def running() -> AsyncGenerator[Service]:
    """Three models: two families that learn, and the first one's base once more, which does not;
    and one that terms do not let be loaded."""
    folder = Path(tempfile.mkdtemp(prefix="liveweights-models-"))
    one = str(make_family("qwen3", folder / "one"))
    two = str(write_family(make_config("mistral"), folder / "two"))
    models: dict[str, Any] = {
        "code": {"base": one},
        "chat": {"base": two, "gate": {"min_cases": 2}},
        "stable": {"base": one, "learn": False, "engine": {"slots": 1}},
        "barred": {"base": two},
    }
    config = folder / "liveweights.toml"
    write_config(config, {"cache": str(folder / "cache"), **SETTINGS, "models": models})
    config.write_text(config.read_text() + BARRED)
    service = Service(folder / "home", config, free_port(), folder / "service.log")
    try:
        async with Client(service.url, timeout=60) as client:
            await service.wait(client, 240)
        yield service
    except BaseException:
        print(service.log.read_text(errors="replace")[-6000:])
        raise
    finally:
        service.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def status_of(http: httpx.AsyncClient, name: str) -> Status:
    return msgspec.json.decode(
        (await http.get("/status", params={"model": name})).content, type=Status
    )


async def until_all_answer(http: httpx.AsyncClient, names: set[str]) -> None:
    async with asyncio.timeout(120):
        while {m["id"] for m in (await http.get("/v1/models")).json()["data"]} != names:
            await asyncio.sleep(0.1)


async def check_terms(http: httpx.AsyncClient, service: Service) -> None:
    asked = {"prompt": "a", "max_tokens": 1}
    refused = await http.post("/v1/completions", json={"model": "barred", **asked})
    assert refused.status_code == 403
    assert "not loaded: it is not looked at yet" in refused.json()["error"]["message"]
    cheapest = await http.post("/v1/completions", json={"model": "auto", **asked})
    assert cheapest.headers["x-model"] == "stable"  # the only one whose price is known
    assert cheapest.headers["x-terms-warning"] == "unknown-licence"
    learnable = {"model": "auto", "route": {"learnable": True}, **asked}
    learns = await http.post("/v1/completions", json=learnable)
    assert learns.headers["x-model"] == "chat"
    async with asyncio.timeout(30):
        while True:
            listed = await asyncio.to_thread(
                subprocess.run, service.command("terms", "denials", "--json"),
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            denied = {(one["action"], one["tenant"]) for one in json.loads(listed.stdout)}
            if denied == {("load", None), ("load", "default")}:
                return


async def add_and_remove(service: Service, http: httpx.AsyncClient) -> None:
    """While the others answer: a local model that learns, and a hosted one behind it."""

    async def run(*words: str) -> str:
        done = await asyncio.to_thread(
            subprocess.run, service.command(*words), capture_output=True, text=True, check=False
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def ask(name: str) -> None:
        body = {"model": name, "prompt": "a = f(", "max_tokens": 2}
        answer = await http.post("/v1/completions", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-model"] == name

    answered = 0

    async def keep_asking() -> None:
        nonlocal answered
        while True:
            await ask("stable")
            answered += 1
            await asyncio.sleep(0.05)

    asking = asyncio.create_task(keep_asking())
    base = msgspec.json.decode(await run("models", "show", "code", "--json"))["of"]
    added = await run("models", "add", "late", f"base={base}", "engine.slots=1")
    assert added == "late is there, version 1: ready on 1 instances\n"
    await run("models", "add", "far", f"upstream={service.url}", "upstream_model=late")
    for name in ("late", "far"):
        await ask(name)
    known = (await http.get("/v1/models/far")).json()
    assert (known["owned_by"], known["data"]["sent_to"]) == ("hosted", "127.0.0.1")
    refused = await asyncio.to_thread(
        subprocess.run, service.command("models", "add", "refused", f"base={base}"),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode == 1
    assert "not loaded: it is not looked at yet (model refused). The rule is not" in refused.stderr
    body = {"model": "refused", "prompt": "a", "max_tokens": 1}
    assert (await http.post("/v1/completions", json=body)).status_code == 403
    await run("models", "remove", "refused")
    listed = msgspec.json.decode(await run("models", "list", "--json"))
    assert {one["name"]: one["state"] for one in listed} == {
        "code": "ready", "chat": "ready", "stable": "ready", "late": "ready", "far": "hosted",
        "barred": "no instance",
    }  # fmt: skip
    facts = {one["name"]: one["facts"] for one in listed}
    assert (facts["late"]["state"], facts["late"]["data"]["teaches"]) == ("ready", ["late"])
    assert facts["barred"] is None
    # There is nothing to learn from, and the worker that has heard of it says so.
    await run("cycle", "--now", "--model", "late")
    async with asyncio.timeout(60):
        while not (await status_of(http, "late")).cycles[0].outcome:
            await asyncio.sleep(0.1)
    for name in ("far", "late"):
        await run("models", "remove", name)
    assert (await http.get("/v1/models/late")).status_code == 404
    assert not asking.done(), asking.exception()
    asking.cancel()
    assert answered


def test_three_models_answer_while_two_of_them_learn_in_turn() -> None:
    async def go() -> None:
        async with (
            running() as service,
            httpx.AsyncClient(base_url=service.url, timeout=60) as http,
            Client(service.url, timeout=60) as users,
        ):
            await until_all_answer(http, {"code", "chat", "stable"})
            official = openai.AsyncOpenAI(base_url=f"{service.url}/v1", api_key="-")
            asked = await asyncio.gather(
                *(
                    official.completions.create(model=name, prompt="a(b", max_tokens=2)
                    for name in ("code", "chat", "stable")
                )
            )
            assert [a.model for a in asked] == ["code", "chat", "stable"]
            bases = [
                (await status_of(http, name)).live or "" for name in ("code", "chat", "stable")
            ]
            assert [base.partition("@")[0] for base in bases] == ["one", "two", "one"]

            await check_terms(http, service)

            async def use(name: str, number: int) -> None:
                answer = await users.complete(
                    f"x{number} = f(", model=name, temperature=0.7, max_tokens=4,
                    session=f"{name}-{number // 4}", user=f"user-{number % 8}",
                )  # fmt: skip
                await users.feedback(
                    answer.generation, Reaction("rejected"), Reaction("correction", "1)")
                )

            for number in range(48):
                await asyncio.gather(*(use(name, number) for name in ("code", "chat", "stable")))
            for name in ("code", "chat"):
                begun = await asyncio.to_thread(
                    subprocess.run, service.command("cycle", "--now", "--model", name),
                    capture_output=True, text=True, check=False,
                )  # fmt: skip
                assert begun.returncode == 0, begun.stderr

            async def ended(name: str) -> Status:
                while True:
                    status = await status_of(http, name)
                    if status.cycles and status.cycles[0].outcome:
                        return status
                    await use(name, 100)
                    await asyncio.sleep(0.2)

            async with asyncio.timeout(300):
                both = await asyncio.gather(ended("code"), ended("chat"))
            for status, base in zip(both, bases, strict=False):
                assert len(status.cycles) == 1
                assert (status.cycles[0].candidate or "").startswith(base.partition("@")[0])
                assert status.cycles[0].learning, status.cycles[0].reason
            assert not (await status_of(http, "stable")).cycles

            await add_and_remove(service, http)

            login = ("anyone", OPERATOR)
            page = (await http.get("/releases", params={"model": "chat"}, auth=login)).text
            assert "<h1>Releases of chat</h1>" in page
            assert "<option>stable</option>" in page
            page = (await http.get("/models/chat", auth=login)).text
            assert "last verdict" in page
            assert (await http.get("/status", params={"model": "nobody"})).status_code == 404
            unnamed = await asyncio.to_thread(
                subprocess.run, service.command("status"),
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert unnamed.returncode == 2
            assert "there are code, chat, stable, barred; --model NAME" in unnamed.stderr

    asyncio.run(go())
