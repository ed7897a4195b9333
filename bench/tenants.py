"""What tenants' own adapters cost on one base: memory and time to load of each, the swap where one
makes room for another, and tokens a second when every tenant asks at once.

The peer, in the same run and taking turns: the same requests, all to one adapter.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import psutil
from rich.progress import track

from _report import arguments, finish, table
from liveweights.config import Config
from liveweights.engines.llama.engine import LlamaEngine
from liveweights.engines.protocol import Sampling
from liveweights.engines.settings import EngineSettings
from liveweights.engines.torch.engine import TorchEngine
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import find, load_tokenizer
from swap import PROMPTS, make_checkpoints

MIB = 2**20


def main() -> None:
    options = arguments(
        __doc__ or "",
        engine=("torch", "torch or llama"),
        tenants=(20, "tenants, each with an adapter of its own"),
        tokens=(32, "tokens of an answer"),
        rounds=(5, "how often all ask, in turn with the peer"),
    )
    if options.quick:
        options.tenants, options.tokens, options.rounds = 3, 4, 2
    cache = Config().cache_folder()
    base = find(Config().model, cache)
    with tempfile.TemporaryDirectory(prefix="liveweights-tenants-") as folder:
        made = make_checkpoints(base, Path(folder), options.tenants + 1)
        sizes = [sum(f.stat().st_size for f in one.folder.glob("*.safetensors")) for one in made]
        figures, peers = asyncio.run(measure(base, made, cache, options))
    figures["adapter_mib_on_disk"] = statistics.mean(sizes) / MIB
    show(figures, peers, options)
    finish("tenants", options, figures, peers)


async def measure(
    base: Checkpoint, made: Sequence[Checkpoint], cache: Path, options: Namespace
) -> tuple[dict[str, Any], dict[str, Any]]:
    settings = EngineSettings(kind=options.engine, context_length=256)
    engine = (TorchEngine if options.engine == "torch" else LlamaEngine)(base, cache, settings)
    *tenants, spare = made
    try:
        await engine.load(base)
        prompts = [list(cast(Any, load_tokenizer(base))(text).input_ids) for text in PROMPTS]
        await ask_all(engine, [base.id] * 2, prompts, 4)
        alone = held(engine)
        loads: list[float] = []
        for one in track(tenants, "loading"):
            loads.append(await timed_load(engine, one, base))
        grown = held(engine) - alone
        rates: dict[str, list[float]] = {"mixed": [], "one": []}
        ids = [one.id for one in tenants]
        for _ in track(range(options.rounds), "asking"):
            rates["mixed"].append(await ask_all(engine, ids, prompts, options.tokens))
            rates["one"].append(await ask_all(engine, [ids[0]] * len(ids), prompts, options.tokens))
        swaps: list[float] = []
        out, inn = tenants[0], spare
        for _ in track(range(max(4, options.rounds)), "swapping"):
            began = time.perf_counter()
            await engine.unload(out.id)
            await engine.load(inn, base)
            swaps.append(time.perf_counter() - began)
            out, inn = inn, out
    finally:
        await engine.close()
    ratios = [a / b for a, b in zip(rates["mixed"], rates["one"], strict=True)]
    figures = {
        "engine": options.engine,
        "tenants": len(tenants),
        "base_mib": alone / MIB,
        "tenant_mib": grown / MIB / len(tenants),
        "load_s": statistics.median(loads),
        "swap_s": statistics.median(swaps),
        "mixed_tokens_per_s": statistics.median(rates["mixed"]),
        "ratio": statistics.median(ratios),
        "ratio_least": min(ratios),
        "ratio_most": max(ratios),
    }
    return figures, {"one_adapter_tokens_per_s": statistics.median(rates["one"])}


def held(engine: TorchEngine | LlamaEngine) -> int:
    """Bytes: tensors of this process, each once; of llama.cpp's processes what is theirs, and
    their part of what they share."""
    if isinstance(engine, TorchEngine):
        return engine.memory()
    children = psutil.Process().children(recursive=True)
    return sum(child.memory_full_info().pss for child in children)


async def timed_load(
    engine: TorchEngine | LlamaEngine, checkpoint: Checkpoint, base: Checkpoint
) -> float:
    began = time.perf_counter()
    await engine.load(checkpoint, base)
    return time.perf_counter() - began


async def ask_all(
    engine: TorchEngine | LlamaEngine,
    ids: Sequence[str],
    prompts: Sequence[list[int]],
    tokens: int,
) -> float:
    """One request to each of the checkpoints, all at once; tokens a second of all together."""

    async def ask(number: int, id: str) -> int:
        prompt = prompts[number % len(prompts)]
        sampling = Sampling(max_tokens=tokens, temperature=1.0, seed=number)
        count = 0
        async with aclosing(cast(Any, engine.generate(id, prompt, sampling))) as answer:
            async for _ in answer:
                count += 1
        return count

    began = time.perf_counter()
    counts = await asyncio.gather(*(ask(number, id) for number, id in enumerate(ids)))
    return sum(counts) / (time.perf_counter() - began)


def show(figures: dict[str, Any], peers: dict[str, Any], options: Namespace) -> None:
    table(
        f"{options.tenants} tenants on one base, engine {options.engine}",
        ("what", "value"),
        [
            ("base, MiB", figures["base_mib"]),
            ("each tenant's own, MiB", figures["tenant_mib"]),
            ("adapter on disk, MiB", figures["adapter_mib_on_disk"]),
            ("load, s", figures["load_s"]),
            ("swap (unload one, load another), s", figures["swap_s"]),
            ("tokens/s, every tenant its own", figures["mixed_tokens_per_s"]),
            ("tokens/s, one adapter for all", peers["one_adapter_tokens_per_s"]),
            (
                "ratio, median (least, most)",
                "{ratio:.3f} ({ratio_least:.3f}, {ratio_most:.3f})".format(**figures),
            ),
        ],
    )


if __name__ == "__main__":
    main()
