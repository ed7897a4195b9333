"""The experts that served an answer: from the engine, through API and record, to the update."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from openai import AsyncOpenAI
from tests.learn.families import make_family
from tests.serve.api.servers import answering, make_server

from liveweights.engines.settings import EngineSettings
from liveweights.engines.torch.engine import TorchEngine
from liveweights.learn.job import Job
from liveweights.learn.learner import learn
from liveweights.learn.rewards import RewardMap
from liveweights.learn.settings import LearnSettings
from liveweights.record import window
from liveweights.record.example import Example
from liveweights.record.writer import Writer
from liveweights.serve.api.app import create_app
from liveweights.serve.models import Models, make_model
from liveweights.serve.router import Router
from liveweights.store.database import Pool, open_pool
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import find, load_tokenizer

PROMPTS = ["import os, sys\n", "import os\n", "def main():\n", "for x in range("]


async def ask(client: AsyncOpenAI) -> None:
    """At once, so that they are decoded together; every answer gets a reaction."""

    async def one(number: int) -> None:
        answer = await client.completions.create(
            model="live",
            prompt=PROMPTS[number % len(PROMPTS)],
            max_tokens=4 + number,
            seed=number,
            user=f"u{number}",
        )
        signal = "accepted" if number % 2 else "rejected"
        body = {"generation": answer.id, "signal": signal}
        await client.post("/feedback", body=body, cast_to=object)

    await asyncio.gather(*(one(number) for number in range(8)))


async def serve(base: Checkpoint, pool: Pool, folder: Path) -> None:
    tokenizer: Any = load_tokenizer(base)
    engine = TorchEngine(base, folder, EngineSettings(kind="torch", context_length=64), tokenizer)
    router = Router()
    try:
        await engine.load(base)
        router.set("live", base.id)
        async with Writer(pool) as writer:
            server = make_server(create_app(Models(make_model(engine, router, tokenizer)), writer))
            async with (
                answering(server) as url,
                AsyncOpenAI(base_url=url, api_key="any") as client,
            ):
                await ask(client)
    finally:
        await engine.close()


async def read(base: Checkpoint, pool: Pool) -> list[Example]:
    """What a first cycle learns from."""
    async with pool.connection() as conn:
        await conn.execute(
            "insert into checkpoints (id, kind, folder, card) values (%s, 'base', '', '{}')",
            (base.id,),
        )
        await conn.execute("insert into aliases (name, live) values ('live', %s)", (base.id,))
        await conn.execute(
            "insert into cycles (alias, state, incumbent, settings)"
            " values ('live', 'claim', %s, '{}')",
            (base.id,),
        )
        await window.claim(conn, 1, "live", held_back_share=0.0, max_rows=100, max_held_back=0)
        return await window.read(conn, 1, "train")


def test_what_served_is_what_learns(database_dsn: str, tmp_path: Path) -> None:
    base = find(str(make_family("mixtral", tmp_path / "mixtral")), tmp_path / "cache")

    async def go() -> list[Example]:
        pool = await open_pool(database_dsn)
        try:
            await serve(base, pool, tmp_path)
            return await read(base, pool)
        finally:
            await pool.close()

    examples = asyncio.run(go())
    assert len(examples) == 8
    job = Job(
        base=str(base.folder),
        parent=None,
        incumbent=base.id,
        train=examples,
        held_back=[],
        baseline_weight={},
        baseline_total={},
        rewards=RewardMap(),
        settings=LearnSettings(rank=4, nodes=128, threads=1),
    )
    # As the learner's process reads it.
    job = msgspec.json.decode(msgspec.json.encode(job), type=Job)
    report = learn(job, tmp_path / "cycle").report
    assert (report.served_routing, report.unfit_routing) == (8, 0)
    assert report.mismatch is not None
    assert report.mismatch < 1e-4
