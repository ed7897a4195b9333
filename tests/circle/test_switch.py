"""An alias goes over to another base while it answers, and back: no request fails, what users said
is learnt again, and kill -9 at any moment changes nothing of that."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
import zlib
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.circle.service import SETTINGS, Part, Running, Users, rows
from tests.learn.families import make_config, make_family, write_family

from liveweights.replay.client import Client, Reaction
from liveweights.replay.service import Service, free_port, write_config
from liveweights.store.embedded import EmbeddedPostgres

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(1800)]

BARRED = """
[[terms]]
name = "not-those"
when = ["load"]
on = { country = ["CN"] }
then = "deny"
reason = "nobody may"
"""


def react(text: str) -> tuple[Reaction, ...]:
    """Half of what is suggested is taken; something else is written in place of the rest."""
    if zlib.crc32(text.encode()) % 2:
        return (Reaction("accepted"),)
    return Reaction("rejected"), Reaction("correction", "1)")


@asynccontextmanager
async def running() -> AsyncGenerator[tuple[Running, str, str]]:
    """A service on one base with users at work, and the folders of that base and of another."""
    folder = Path(tempfile.mkdtemp(prefix="liveweights-switch-"))
    old = str(make_family("qwen3", folder / "old"))
    new = str(write_family(make_config("mistral"), folder / "new"))
    settings: dict[str, Any] = {
        **SETTINGS,
        "cache": str(folder / "cache"),
        "engine": {"kind": "torch", "context_length": 128, "threads": 1, "slots": 4},
        "learn": {**SETTINGS["learn"], "threads": 1, "dtype": "float32"},
        "canary": {
            **SETTINGS["canary"], "shadow": 1.0, "shadow_answers": 4, "shadow_seconds": 5.0,
        },
        "cycle": {**SETTINGS["cycle"], "min_feedback": 100_000},
        "models": {"code": {"base": old}},
    }  # fmt: skip
    config = folder / "liveweights.toml"
    write_config(config, settings)
    config.write_text(config.read_text() + BARRED)
    service = Service(folder / "home", config, free_port(), folder / "service.log")
    try:
        async with Client(service.url, timeout=60) as client:
            await service.wait(client, 240)
            users = Users(client, react=react)
            dsn = EmbeddedPostgres(folder / "home" / "postgres").start()
            run = Running(folder / "home", service, client, users, dsn)
            working = asyncio.create_task(users.run())
            try:
                async with asyncio.timeout(120):
                    while len(users.acknowledged) < 40:
                        await asyncio.sleep(0.1)
                yield run, old, new
            finally:
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
    except BaseException:
        print(service.log.read_text(errors="replace")[-8000:])
        raise
    finally:
        service.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def command(run: Running, *words: str, code: int = 0) -> str:
    done = await asyncio.to_thread(
        subprocess.run, run.service.command(*words), capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


async def report(run: Running) -> dict[str, Any]:
    return json.loads(await command(run, "switch", "code", "--json"))


async def until_answers(run: Running, base: str, seconds: float = 120) -> None:
    """Until users are answered by what is on that base, and by nothing else for a while."""
    async with asyncio.timeout(seconds):
        while True:
            last = list(run.users.answered.values())[-10:]
            if {one.partition("@")[0] for one in last} == {base}:
                return
            await asyncio.sleep(0.2)


def test_a_switch_under_steady_traffic_fails_nobody() -> None:
    async def go() -> None:
        async with running() as (run, old, new):
            for base, said in (
                (old, "stands on old@"),
                (f"{new}-of-nobody", "not at hand"),
            ):
                assert said in await command(run, "switch", "code", base, code=2)
            assert "never switched" in await command(run, "switch", "code", code=2)
            begun = json.loads(
                await command(run, "switch", "code", new, "--reason", "cheaper", "--json")
            )
            again = json.loads(await command(run, "switch", "code", new, "--json"))
            assert again["id"] == begun["id"]
            await run.until(begun["id"], "canary")
            answered_before = len(run.users.answered)
            await run.until(begun["id"], "ended")
            status = await run.status()
            assert status.cycles[0].outcome == "promoted", status.cycles[0].reason
            tried = Counter(
                checkpoint.partition("@")[0]
                for checkpoint in list(run.users.answered.values())[answered_before:]
            )
            assert set(tried) == {"old", "new"}, "both arms of the canary answered"
            await until_answers(run, "new")
            told = await report(run)
            assert told["live"].startswith("new@")
            assert told["relearnt"]["preference"] > 0
            assert told["relearnt"]["correction"] > 0
            assert "policy" not in told["relearnt"]  # no log-probabilities of another's tokens
            assert told["accepted"]["before"]["count"] > 20
            async with asyncio.timeout(60):
                while (told := await report(run))["accepted"]["after"] is None:
                    await asyncio.sleep(1)
            assert -1 <= told["accepted"]["difference"]["value"] <= 1
            # What is said of the old base's answers from now on teaches in words.
            late = [
                generation
                for generation, checkpoint in run.users.answered.items()
                if checkpoint.startswith("old@")
            ][:20]
            for generation in late:
                await run.client.feedback(generation, Reaction("rejected"))
            await command(run, "cycle", "--now", "--model", "code")
            cycle = await run.next_cycle(begun["id"])
            await run.until(cycle, "calibrating", "warming", "gating", "canary", "ended")
            learnt = next(one for one in (await run.status()).cycles if one.id == cycle)
            assert learnt.learning is not None, learnt.reason
            assert learnt.learning["roles"]["preference"] > 0
            assert rows(
                run,
                "select 1 from cycle_rows where cycle = %s and generation = any(%s)",
                *(cycle, late),
            )
            await command(run, "switch", "code", "--back", "--reason", "it was nice there")
            await until_answers(run, "old")
            assert (await run.status()).live == told["switch"]["former"]
            assert not run.users.failures

    asyncio.run(go())


@pytest.mark.parametrize("part", ["worker", "api", "learner"])
def test_killed_half_way_it_goes_on(part: Part) -> None:
    async def go() -> None:
        async with running() as (run, _, new):
            begun = json.loads(await command(run, "switch", "code", new, "--json"))
            state = {"worker": "gating", "api": "canary", "learner": "learning"}[part]
            assert await run.until(begun["id"], state, "ended") == state
            async with asyncio.timeout(60):
                while not run.kill(part):
                    await asyncio.sleep(0.02)
            await run.until(begun["id"], "ended")
            cycle = next(one for one in (await run.status()).cycles if one.id == begun["id"])
            assert cycle.outcome == "promoted", cycle.reason
            await until_answers(run, "new")
            if part != "api":
                assert not run.users.failures

    asyncio.run(go())


def test_it_is_there_after_a_restart_and_given_up_where_somebody_says_so() -> None:
    async def go() -> None:
        async with running() as (run, _, new):
            begun = json.loads(await command(run, "switch", "code", new, "--json"))
            await run.until(begun["id"], "canary")
            await command(run, "switch", "code", "--back", "--reason", "changed my mind")
            await until_answers(run, "old")
            assert not run.users.failures
            begun = json.loads(await command(run, "switch", "code", new, "--json"))
            await run.until(begun["id"], "ended")
            await until_answers(run, "new")
            assert not run.users.failures
            config = run.home.parent / "liveweights.toml"
            await asyncio.to_thread(run.service.stop)
            started = Service(
                run.home, config, int(run.service.url.rpartition(":")[2]), run.home / "again.log"
            )
            try:
                await started.wait(run.client, 240)
                status = await run.client.status()
                assert (status.live or "").startswith("new@")
                answer = await run.client.complete(
                    "a = f(", model="code", temperature=0.0, max_tokens=2, session="s", user="u"
                )
                assert answer.checkpoint == status.live
                assert "the settings still say" in (run.home / "again.log").read_text()
            finally:
                await asyncio.to_thread(started.stop)

    asyncio.run(go())


def test_terms_deny_a_base(tmp_path: Path) -> None:
    async def go() -> None:
        async with running() as (run, _, _):
            # A folder of that name is known by the catalogue as Chinese.
            barred = write_family(make_config("mistral"), tmp_path / "Qwen" / "Qwen3-0.6B")
            said = await command(run, "switch", "code", str(barred), code=2)
            assert "do not allow to load" in said
            assert "nobody may" in said
            listed = json.loads(await command(run, "terms", "denials", "--json"))
            assert [one["rule"] for one in listed] == ["not-those"]
            assert not run.users.failures

    asyncio.run(go())
