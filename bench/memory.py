"""Ten local models in memory for three: is every request answered, and is the bound kept?

The models have the packaged model's shape and tokenizer and weights of their own, so that each is
its own files and its own engine. Memory is three and a third times what one of them takes, as a
service with that one alone measured it. Clients ask for models at random; meanwhile the resident
memory of the engines' processes is looked at from outside, beside what the service says that its
models take. A request that waited says so in `x-load-wait-ms`.

Ends with status 1 if a request was not answered, or memory was over the bound by more than 5%.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from _report import arguments, finish, table
from liveweights.config import Config
from liveweights.replay.client import Client
from liveweights.replay.service import Service, free_port, write_config
from liveweights.weights.models import DEFAULT_MODEL, find

GIB = 2**30
ROOM = 3 + 1 / 3
"""Models that fit."""
OVER = 1.05
LOOK = 0.1
"""Seconds between looks from outside."""
SEED = 11


@dataclass
class Seen:
    """``peak`` bytes of all engines at once from outside, ``told`` what the service said."""

    answered: int = 0
    failures: list[str] = field(default_factory=list[str])
    seconds: list[float] = field(default_factory=list[float])
    waits: list[float] = field(default_factory=list[float])
    """Seconds of the requests that waited for their model."""
    peak: int = 0
    told: int = 0


def main() -> None:
    options = arguments(
        __doc__ or "",
        models=(10, "local models"),
        layers=(8, "of each model, of the packaged one's 30"),
        clients=(6, "that ask at the same time"),
        seconds=(180, "of traffic"),
    )
    if options.quick:
        options.models, options.layers, options.seconds = 5, 2, 20
    with tempfile.TemporaryDirectory(prefix="liveweights-memory-") as name:
        folder = Path(name)
        bases = [
            make_base(folder / f"m{number}", number, options.layers)
            for number in range(options.models)
        ]
        for kind in ("one", "all"):
            (folder / kind).mkdir()
        one, _ = asyncio.run(serve(folder / "one", bases[:1], None, 1, 5.0))
        budget = int(ROOM * one.told)
        seen, settled = asyncio.run(
            serve(folder / "all", bases, budget, options.clients, options.seconds)
        )
    over = max(seen.peak, seen.told) / budget
    table(
        f"{options.models} models in memory for three, {options.clients} clients",
        ("figure", "value"),
        [
            ("memory of one model, MiB", one.told / 2**20),
            ("bound, MiB", budget / 2**20),
            ("most at once, from outside, MiB", seen.peak / 2**20),
            ("most at once, as told, MiB", seen.told / 2**20),
            ("share of the bound", over),
            ("answered", seen.answered),
            ("not answered", len(seen.failures)),
            ("waited for their model", len(seen.waits)),
            ("wait, median, s", statistics.median(seen.waits) if seen.waits else 0.0),
            ("wait, longest, s", max(seen.waits, default=0.0)),
            ("request, median, s", statistics.median(seen.seconds)),
            ("models loaded at the end", settled),
        ],
    )
    for failure in seen.failures[:5]:
        print(failure)
    figures = {
        "models": options.models,
        "budget": budget,
        "share_of_bound": over,
        "answered": seen.answered,
        "failed": len(seen.failures),
        "waited": len(seen.waits),
        "longest_wait": max(seen.waits, default=0.0),
    }
    finish("memory", options, figures, {})
    if seen.failures or over > OVER:
        sys.exit(1)


def make_base(folder: Path, number: int, layers: int) -> Path:
    """The packaged model's configuration with fewer layers, other weights, the same tokenizer."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    source = find(DEFAULT_MODEL, Config().cache_folder()).folder
    config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    config.num_hidden_layers = layers
    torch.manual_seed(number)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, trust_remote_code=False)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, trust_remote_code=False).save_pretrained(folder)
    return folder


async def serve(
    folder: Path, bases: list[Path], budget: int | None, clients: int, seconds: float
) -> tuple[Seen, int]:
    """Traffic on a service of its own with these models; also how many are loaded at the end."""
    models: dict[str, Any] = {base.name: {"base": str(base), "learn": False} for base in bases}
    # More than enough: what the bound is measured with.
    models["memory_gib"] = (budget or 64 * GIB) / GIB
    engine = {"precision": "q8_0", "context_length": 256, "threads": 1, "slots": 2}
    config = folder / "liveweights.toml"
    write_config(config, {"models": models, "engine": engine})
    service = Service(folder / "home", config, free_port(), folder / "service.log")
    seen = Seen()
    try:
        async with Client(service.url, timeout=30) as client:
            await service.wait(client, 600)
        async with aiohttp.ClientSession() as session:
            watch = asyncio.create_task(look(session, service, seen))
            names = [base.name for base in bases]
            end = time.monotonic() + seconds
            await asyncio.gather(
                *(ask(session, service.url, names, end, number, seen) for number in range(clients))
            )
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
            async with session.get(f"{service.url}/v1/models") as answer:
                states = [one["state"] for one in (await answer.json())["data"]]
    finally:
        service.stop()
    return seen, states.count("ready")


async def ask(
    session: aiohttp.ClientSession, url: str, names: list[str], end: float, client: int, seen: Seen
) -> None:
    """Completions of models at random, one after the other."""
    rng = random.Random(SEED + client)
    while time.monotonic() < end:
        body = {
            "model": rng.choice(names),
            "prompt": f"def f_{rng.randrange(1000)}(x):\n    return",
            "max_tokens": 8,
        }
        began = time.monotonic()
        try:
            async with session.post(f"{url}/v1/completions", json=body) as answer:
                text = await answer.text()
                waited = float(answer.headers.get("x-load-wait-ms", 0)) / 1000
                if answer.status == 200:
                    seen.answered += 1
                else:
                    seen.failures.append(f"{body['model']}: {answer.status}: {text[:200]}")
        except (aiohttp.ClientError, TimeoutError) as error:
            seen.failures.append(f"{body['model']}: {error!r}")
            continue
        seen.seconds.append(time.monotonic() - began)
        if waited:
            seen.waits.append(waited)


async def look(session: aiohttp.ClientSession, service: Service, seen: Seen) -> None:
    """The engines' memory, until cancelled."""
    while True:
        seen.peak = max(seen.peak, await asyncio.to_thread(engines_memory, service.pid))
        async with session.get(f"{service.url}/metrics") as answer:
            told = sum(
                float(line.rpartition(" ")[2])
                for line in (await answer.text()).splitlines()
                if line.startswith("liveweights_model_memory_bytes{")
            )
        seen.told = max(seen.told, int(told))
        await asyncio.sleep(LOOK)


def engines_memory(pid: int) -> int:
    """Resident bytes of the engines' processes below the service."""
    total = 0
    with suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.Error):
                if "llama" in " ".join(child.cmdline()[:3]):
                    total += child.memory_info().rss
    return total


if __name__ == "__main__":
    main()
