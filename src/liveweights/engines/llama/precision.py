"""Choosing the precision that the llama engine serves by what it loses."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from liveweights.engines.llama.host import Host
from liveweights.engines.llama.process import LlamaProcess
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.gguf import LAYOUT, Precision, to_gguf
from liveweights.weights.models import load_tokenizer
from liveweights.weights.staging import write_whole

log = logging.getLogger(__name__)

REFERENCE: Precision = "f16"
LADDER: tuple[Precision, ...] = ("q4_0", "q8_0", REFERENCE)
"""Fastest first: decoding reads every weight for every token."""
PLACES = 48
PROMPT = 192
CANDIDATES = 64

Distribution = dict[int, float]
"""Log-probabilities of the most likely next tokens."""


class Measured(msgspec.Struct, frozen=True):
    """Loss of each precision that was tried, in nats per token (``divergence``)."""

    losses: dict[str, float]


async def choose_precision(
    base: Checkpoint, cache: Path, max_loss: float, threads: int
) -> Precision:
    """The fastest precision that loses at most ``max_loss`` nats per token.

    What is measured is kept in ``cache`` for the base, so that it is measured once. Raises
    UnsupportedByLlamaCpp, EngineError.
    """
    file = cache / "precision" / f"{base.id}.v{LAYOUT}.json"
    losses = _read(file)
    prompts: list[list[int]] = []
    reference: list[Distribution] = []
    for precision in LADDER[:-1]:
        if precision not in losses:
            if not reference:
                log.info("measuring what %s loses at lower precision", base.id)
                prompts = await asyncio.to_thread(sample_prompts, base)
                reference = await _distributions(base, cache, REFERENCE, prompts, threads=threads)
            distributions = await _distributions(base, cache, precision, prompts, threads=threads)
            losses[precision] = divergence(reference, distributions)
            await asyncio.to_thread(_write, file, losses)
        log.info("%s at %s loses %.4f nats per token", base.id, precision, losses[precision])
        if losses[precision] <= max_loss:
            return precision
    return REFERENCE


def divergence(reference: Sequence[Distribution], other: Sequence[Distribution]) -> float:
    """Mean Kullback-Leibler divergence in nats of next-token distributions from the reference.

    Over the tokens that both name, each side renormalised to them: KL of the conditional
    distributions. What is outside of 64 candidates holds little.
    """
    total = 0.0
    for p, q in zip(reference, other, strict=True):
        shared = p.keys() & q.keys()
        mass_p = _log_sum([p[token] for token in shared])
        mass_q = _log_sum([q[token] for token in shared])
        total += sum(
            math.exp(p[token] - mass_p) * ((p[token] - mass_p) - (q[token] - mass_q))
            for token in shared
        )
    return total / len(reference)


def sample_prompts(base: Checkpoint) -> list[list[int]]:
    """Beginnings of places in code and prose that every Python has: its own library's."""
    import argparse
    import difflib
    import shutil as files
    import textwrap

    modules: tuple[ModuleType, ...] = (argparse, difflib, files, textwrap)
    tokenizer: Any = load_tokenizer(base)
    text = "\n".join(inspect.getsource(module) for module in modules)
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    stride = max(1, (len(ids) - PROMPT) // PLACES)
    return [ids[start : start + PROMPT] for start in range(0, len(ids) - PROMPT, stride)][:PLACES]


async def _distributions(
    base: Checkpoint,
    cache: Path,
    precision: Precision,
    prompts: Sequence[list[int]],
    *,
    threads: int,
) -> list[Distribution]:
    """What the weights at ``precision`` say comes next after each prompt."""
    gguf = await asyncio.to_thread(to_gguf, base, cache, precision)
    host = Host(
        gguf=str(gguf),
        adapter=None,
        api_key="",
        context_length=PROMPT + 16,
        slots=1,
        threads=threads,
        cache_mib=0,
    )
    process = LlamaProcess(f"{base.id} at {precision}", host)
    await process.start()

    async def ask(ids: list[int]) -> Distribution:
        body = {"prompt": ids, "n_predict": 1, "temperature": 0, "n_probs": CANDIDATES}
        body |= {"cache_prompt": False}
        async with process.request("POST", "/completion", body) as response:
            response.raise_for_status()
            [step] = (await response.json())["completion_probabilities"]
            return {one["id"]: one["logprob"] for one in step["top_logprobs"]}

    try:
        return [await ask(ids) for ids in prompts]
    finally:
        await process.stop()


def _log_sum(values: Sequence[float]) -> float:
    most = max(values)
    return most + math.log(sum(math.exp(value - most) for value in values))


def _read(file: Path) -> dict[str, float]:
    try:
        return dict(msgspec.json.decode(file.read_bytes(), type=Measured).losses)
    except (OSError, msgspec.MsgspecError):
        return {}


def _write(file: Path, losses: dict[str, float]) -> None:
    write_whole(file, msgspec.json.encode(Measured(losses)))
