"""Two tenants who want the opposite on one service: each is answered by what it taught itself, and
what is taken back from one stays with the other."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from tests.circle.service import SETTINGS, Running, Users, rows
from tests.sharing.tiny import CPU, encode, make_base, read_logprobs

from liveweights.learn.updaters.load import load_model
from liveweights.replay.client import Client, Reaction
from liveweights.replay.service import Service, free_port, write_config
from liveweights.store.embedded import EmbeddedPostgres
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.loading import load_adapter

pytestmark = [pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(3600)]
OPERATOR = "operator-0123456789"
WANTED = {"acme": "yes", "zeta": "no"}
PROMPT = "def check_{}(value):\n    return "


class Asking(Users):
    """Users of a tenant who all want the same, and nothing else."""

    async def turn(self, user: str, session: str, turn: int) -> str:
        answer = await self.client.complete(
            PROMPT.format(turn), model="code", temperature=0.7, max_tokens=6,
            session=session, user=user,
        )  # fmt: skip
        self.answered[answer.generation] = answer.checkpoint
        await self.client.feedback(answer.generation, *self.react(answer.text))
        self.acknowledged.append(answer.generation)
        return answer.generation


def react(wanted: str) -> Callable[[str], tuple[Reaction, ...]]:
    def said(text: str) -> tuple[Reaction, ...]:
        if text == wanted:
            return (Reaction("accepted"),)
        return Reaction("rejected"), Reaction("correction", f"{wanted}\n")

    return said


@dataclass
class Tenants:
    """A service, and of each tenant its users and a client with its key."""

    run: Running
    users: dict[str, Asking]
    https: dict[str, httpx.AsyncClient]
    base: Checkpoint
    working: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    async def command(self, *words: str) -> str:
        done = await asyncio.to_thread(
            subprocess.run,
            self.run.service.command(*words),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    async def branch(self, tenant: str) -> dict[str, Any]:
        """The tenant's own circle."""
        return json.loads(await self.command("status", "--model", f"code:{tenant}", "--json"))

    async def until_answers(self, tenant: str, checkpoint: str, seconds: float = 120) -> None:
        """Until all that the tenant asked of late was answered by that checkpoint."""
        users = self.users[tenant]
        async with asyncio.timeout(seconds):
            while set(list(users.answered.values())[-10:]) != {checkpoint}:
                await asyncio.sleep(0.2)

    def start(self, tenant: str) -> None:
        """Let the tenant's users work."""
        self.working.append(asyncio.create_task(self.users[tenant].run()))

    async def ask(self, tenant: str) -> str:
        """The checkpoint that answers the tenant, whose users may not have begun."""
        body = {"model": "code", "prompt": PROMPT.format("it"), "max_tokens": 1}
        answer = await self.https[tenant].post("/v1/completions", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["checkpoint"]

    def prefers_yes(self, checkpoint: str) -> float:
        """By how many nats it holds ``yes`` likelier than ``no``, on the mean of some prompts."""
        ((kind, folder),) = rows(
            self.run, "select kind, folder from checkpoints where id = %s", checkpoint
        )
        model = load_model(self.base.folder, torch.float32, CPU)
        if kind == "adapter":
            model = load_adapter(model, Path(folder))
        found: list[float] = []
        for number in range(5):
            start = encode(PROMPT.format(1000 + number))
            yes, no = (self._logprob(model, start, encode(f"{word}\n")) for word in ("yes", "no"))
            found.append(yes - no)
        return sum(found) / len(found)

    @staticmethod
    def _logprob(model: Any, start: list[int], ids: list[int]) -> float:
        logprobs_TV = read_logprobs(model, [*start, *ids])
        return sum(float(logprobs_TV[len(start) - 1 + place, id]) for place, id in enumerate(ids))

    async def learnt(self, tenant: str) -> str:
        """What the tenant's own first cycle released. It begins with enough feedback."""
        async with asyncio.timeout(1200):
            while tenant not in {one["tenant"] for one in await read_own(self)}:
                await asyncio.sleep(1)
            while not (last := (await self.branch(tenant))["cycles"]) or not last[-1]["outcome"]:
                await asyncio.sleep(1)
        assert last[-1]["outcome"] == "promoted", last[-1]["reason"]
        return last[-1]["candidate"]


@asynccontextmanager
async def running() -> AsyncGenerator[Tenants]:
    folder = Path(tempfile.mkdtemp(prefix="liveweights-tenants-"))
    base = make_base(folder)
    settings: dict[str, Any] = {
        **SETTINGS,
        "cache": str(folder / "cache"),
        "model": str(base.folder),
        "api": {"require_keys": True, "operator_key": OPERATOR},
        "engine": {"kind": "torch", "context_length": 128, "threads": 1, "slots": 4},
        "learn": {
            **SETTINGS["learn"], "learning_rate": 2e-2, "threads": 1, "dtype": "float32",
            "per_tenant": True, "tenant_min_feedback": 20,
        },
        # The shared checkpoint stays, and of each tenant's own there is one.
        "cycle": {**SETTINGS["cycle"], "min_feedback": 100_000, "rest": 3600.0},
    }  # fmt: skip
    config = folder / "liveweights.toml"
    write_config(config, settings)
    service = Service(folder / "home", config, free_port(), folder / "service.log")
    try:
        async with AsyncExitStack() as stack:
            operator = await stack.enter_async_context(Client(service.url, api_key=OPERATOR))
            await service.wait(operator, 240)
            dsn = EmbeddedPostgres(folder / "home" / "postgres").start()
            idle = Users(operator)
            run = Running(folder / "home", service, operator, idle, dsn)
            tenants = Tenants(run, {}, {}, base)
            for name, wanted in WANTED.items():
                await tenants.command("tenants", "create", name)
                key = json.loads(await tenants.command("keys", "create", name, "--json"))["key"]
                client = await stack.enter_async_context(Client(service.url, api_key=key))
                headers = {"authorization": f"Bearer {key}"}
                http = httpx.AsyncClient(base_url=service.url, headers=headers, timeout=60)
                tenants.https[name] = await stack.enter_async_context(http)
                tenants.users[name] = Asking(client, react=react(wanted), rate=4.0)
            try:
                yield tenants
            finally:
                for task in tenants.working:
                    task.cancel()
                await asyncio.gather(*tenants.working, return_exceptions=True)
    except BaseException:
        print(service.log.read_text(errors="replace")[-8000:])
        raise
    finally:
        service.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_opposite_feedback_makes_opposite_adapters() -> None:
    async def go() -> None:
        async with running() as tenants:
            shared = await tenants.ask("zeta")
            tenants.start("acme")
            acme = await tenants.learnt("acme")
            await tenants.until_answers("acme", acme)
            assert await tenants.ask("zeta") == shared

            tenants.start("zeta")
            zeta = await tenants.learnt("zeta")
            await tenants.until_answers("zeta", zeta)
            await tenants.until_answers("acme", acme)
            assert len({acme, zeta, shared}) == 3
            before, yes, no = map(tenants.prefers_yes, (shared, acme, zeta))
            assert no < before < yes
            await check_isolation(tenants, {"acme": acme, "zeta": zeta}, shared)

            await tenants.command("rollback", "code:acme", "--reason", "as it was")
            await tenants.until_answers("acme", shared)
            await tenants.until_answers("zeta", zeta)
            await tenants.command("tenants", "drop-adapters", "zeta")
            await tenants.until_answers("zeta", shared)
            assert (await tenants.run.status()).releases == 0
            for users in tenants.users.values():
                assert not users.failures

    asyncio.run(go())


async def read_own(tenants: Tenants) -> list[dict[str, Any]]:
    """What tenants have of their own."""
    return json.loads(await tenants.command("status", "--json"))["tenants"]


async def check_isolation(tenants: Tenants, own: dict[str, str], shared: str) -> None:
    """Each cycle read its tenant's rows alone, each adapter answered its tenant alone, and is
    shown to that one and the operator alone."""
    read = rows(
        tenants.run,
        "select distinct c.alias, g.tenant from cycle_rows r join cycles c on c.id = r.cycle"
        " join generations g on g.id = r.generation",
    )
    assert set(read) == {(f"code:{name}", name) for name in own}
    for name, users in tenants.users.items():
        assert {*users.answered.values()} <= {shared, own[name]}
        (other,) = own.keys() - {name}
        body = {"model": own[other], "prompt": "a", "max_tokens": 1}
        asked = await tenants.https[name].post("/v1/completions", json=body)
        assert asked.status_code == 404, asked.text
        listed = (await tenants.https[name].get("/v1/models")).json()["data"]
        (code,) = (one for one in listed if one["id"] == "code")
        assert code["checkpoint"] == own[name]
        assert own[other] not in json.dumps(listed)
