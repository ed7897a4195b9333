"""Ten local models with memory for three, under random traffic."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from tests.learn.families import make_config, make_family, write_family
from tests.serve.api.doubles import MemoryRecorder

from liveweights.app.lineup import Lineup
from liveweights.app.place import Place
from liveweights.app.terms import Lookout, make_terms
from liveweights.catalog.card import read_card
from liveweights.config import Config
from liveweights.release.standing import stand
from liveweights.serve.api.app import create_app
from liveweights.store.database import open_pool
from liveweights.weights.models import find

pytestmark = [pytest.mark.alone, pytest.mark.timeout(180)]
ENGINE = {"kind": "torch", "context_length": 64, "threads": 1, "slots": 2, "cache_mib": 0}
MODELS, USERS, REQUESTS = 10, 6, 15


def test_ten_models_with_memory_for_three_answer_every_request(
    database_dsn: str, tmp_path: Path
) -> None:
    one = make_family("qwen3", tmp_path / "one")
    two = write_family(make_config("mistral"), tmp_path / "two")
    cache = tmp_path / "cache"
    bases = {str(folder): find(str(folder), cache) for folder in (one, two)}
    cards = {path: read_card(base, cache) for path, base in bases.items()}
    largest = max(4 * card["parameters"] for card in cards.values())
    budget = int(3.2 * largest)
    tables: dict[str, Any] = {
        f"m{n}": {"base": path, "learn": False}
        for n, path in zip(range(MODELS), [*bases] * (MODELS // 2), strict=True)
    }
    raw = {"cache": str(cache), "engine": ENGINE}
    config = msgspec.convert(raw | {"models": {"memory_gib": budget / 2**30, **tables}}, Config)
    dice = random.Random(1)

    async def go() -> None:
        pool = await open_pool(database_dsn)
        try:
            async with pool.connection() as conn:
                for name, table in tables.items():
                    base = bases[table["base"]]
                    await stand(conn, name, base, cards[table["base"]], model=table["base"])
            place = Place(config, tmp_path, database_dsn)
            found = [bases[model.base] for model in config.list_models()]
            lookout = Lookout(pool, make_terms(config, {}))
            async with Lineup(pool, place, instance="here", bases=found, lookout=lookout) as lineup:
                await traffic(lineup)
        finally:
            await pool.close()

    async def traffic(lineup: Lineup) -> None:
        engines: list[Any] = [model.engine for model in lineup.models]
        highest = 0

        async def watch() -> None:
            nonlocal highest
            while True:
                highest = max(highest, sum(engine.memory() for engine in engines))
                await asyncio.sleep(0.001)

        app: Any = create_app(lineup.models, MemoryRecorder(), config.api, hosted=lineup.hosted)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://localhost", timeout=120
        ) as client:
            watching = asyncio.create_task(watch())
            while set((await client.get("/healthz")).json()["models"]) != tables.keys():
                await asyncio.sleep(0.02)

            async def use() -> list[httpx.Response]:
                return [
                    await client.post(
                        "/v1/completions",
                        json={
                            "model": f"m{dice.randrange(MODELS)}",
                            "prompt": "a" * dice.randrange(1, 40),
                            "max_tokens": dice.randrange(1, 4),
                        },
                    )
                    for _ in range(REQUESTS)
                ]

            answers = [
                a for each in await asyncio.gather(*(use() for _ in range(USERS))) for a in each
            ]
            watching.cancel()
            assert [a.status_code for a in answers] == [200] * (USERS * REQUESTS)
            waits = [int(a.headers.get("x-load-wait-ms", 0)) for a in answers]
            assert sum(wait > 0 for wait in waits) > MODELS
            assert highest <= 1.05 * budget
            assert highest > 2 * largest
            text = (await client.get("/metrics")).text
            assert 'liveweights_model_memory_bytes{model="m0"}' in text

    asyncio.run(go())
