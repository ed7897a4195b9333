"""What guessing from the prompt is worth: tokens per second of the torch engine, with and without.

Completions of real code, answers that say a given text again, and answers that repeat nothing of
their prompt; one at a time. Every size answers the same requests with the same
seeds, in turn, in this process.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from _report import arguments, finish, table
from liveweights.config import Config
from liveweights.engines.protocol import Sampling
from liveweights.engines.settings import EngineSettings
from liveweights.engines.torch.engine import TorchEngine
from liveweights.weights.models import find, load_tokenizer


@dataclass
class Kind:
    name: str
    prompts: list[list[int]]
    temperature: float


def make_kinds(tokenizer: Any, count: int) -> list[Kind]:
    """``count`` prompts of each kind."""
    import difflib
    import textwrap

    ids: list[int] = tokenizer.encode(Path(difflib.__file__).read_text(), add_special_tokens=False)
    code = [ids[700 * n : 700 * n + 400] for n in range(count)]

    def chat(request: str) -> list[int]:
        return tokenizer.encode(f"<|im_start|>user\n{request}<|im_end|>\n<|im_start|>assistant\n")

    lines = Path(textwrap.__file__).read_text().splitlines()
    pieces = ["\n".join(lines[start : start + 14]) for start in range(60, 60 + 15 * count, 15)]
    again = [chat(f"Repeat this text, word for word:\n\n{piece}") for piece in pieces]
    topics = ("rain", "bread", "bridges", "tides")[:count]
    stories = [chat(f"Tell me a story about {topic}.") for topic in topics]
    return [
        Kind("code, drawn at 0.4", code, 0.4),
        Kind("said again, greedy", again, 0.0),
        Kind("stories, drawn at 0.8", stories, 0.8),
    ]


async def rate(engine: TorchEngine, model: str, kind: Kind, tokens: int) -> float:
    """Tokens per second."""
    count = 0
    began = time.perf_counter()
    for seed, ids in enumerate(kind.prompts):
        how = Sampling(max_tokens=tokens, temperature=kind.temperature, seed=seed)
        async with aclosing(engine.generate(model, ids, how)) as answer:
            async for _ in answer:
                count += 1
    return count / (time.perf_counter() - began)


async def run(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Tokens per second by workload, and by the number of guesses."""
    cache = Config().cache_folder()
    base = find(options.model, cache)
    tokenizer = load_tokenizer(base)
    kinds = make_kinds(tokenizer, 2 if options.quick else 4)
    tokens, rounds = (12, 1) if options.quick else (48, 2)
    sizes = [int(size) for size in options.guesses.split(",")]
    engines: dict[int, TorchEngine] = {}
    for size in sizes:
        settings = EngineSettings(
            kind="torch", threads=options.threads, guesses=size, cache_mib=0, context_length=1024
        )
        engines[size] = TorchEngine(base, cache, settings, tokenizer)
        await engines[size].load(base)
    found: dict[str, dict[str, float]] = {}
    for kind in kinds:
        rates: dict[int, list[float]] = {size: [] for size in sizes}
        for _ in range(rounds):
            for size, engine in engines.items():
                rates[size].append(await rate(engine, base.id, kind, tokens))
        found[kind.name] = {str(size): median(values) for size, values in rates.items()}
    for engine in engines.values():
        await engine.close()
    return found


def main() -> None:
    cores = len(os.sched_getaffinity(0))
    options = arguments(
        __doc__ or "",
        model=(Config().model, "packaged name or folder"),
        threads=(cores, "threads that compute"),
        guesses=("0,4,8", "guessed tokens per step to compare, the first as the measure"),
    )
    found = asyncio.run(run(options))
    sizes = list(next(iter(found.values())))
    rows = [[name, *rates.values()] for name, rates in found.items()]
    table("Tokens per second, by guessed tokens per step", ["workload", *sizes], rows)
    ratios = {
        name: {size: value / rates[sizes[0]] for size, value in rates.items()}
        for name, rates in found.items()
    }
    rows = [[name, *values.values()] for name, values in ratios.items()]
    table(f"Times what {sizes[0]} guesses give", ["workload", *sizes], rows)
    peers = {name: rates[sizes[0]] for name, rates in found.items()}
    figures = {"tokens_per_second": found, "ratios": ratios}
    finish("lookup", options, figures, {"without": peers})


if __name__ == "__main__":
    main()
