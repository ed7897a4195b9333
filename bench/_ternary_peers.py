"""The same shape through llama.cpp: ternary blocks, four bits, and 16 bits, by its own server and
its own clock."""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
from pathlib import Path
from typing import Any

from _ternary_models import SMALL, Shape, write_dense, write_ternary
from liveweights.engines.llama.host import Host
from liveweights.engines.llama.process import LlamaProcess
from liveweights.weights.gguf import write_gguf
from liveweights.weights.models import find
from liveweights.weights.ternary.writing import write_gguf as write_ternary_gguf

KINDS = ("TQ2_0", "Q4_0", "F16")


def make_peers(folder: Path, cache: Path, shape: Shape = SMALL) -> dict[str, Path]:
    """The GGUF files of a random model, by kind, written to ``folder`` where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {kind: folder / f"{kind}.gguf" for kind in KINDS}
    if not files["TQ2_0"].exists():
        packed = write_ternary(folder / "ternary", shape, 256)
        write_ternary_gguf(find(str(packed), cache), files["TQ2_0"], "TQ2_0", lambda *_: None)
        shutil.rmtree(packed)
    if not files["Q4_0"].exists() or not files["F16"].exists():
        shutil.rmtree(folder / "dense", ignore_errors=True)
        dense = write_dense(folder / "dense", shape)
        base = find(str(dense), cache)
        for kind, precision in (("F16", "f16"), ("Q4_0", "q4_0")):
            partial = folder / "partial.gguf"
            write_gguf(base, partial, precision)  # type: ignore[arg-type]
            partial.rename(files[kind])
        shutil.rmtree(dense)
    return files


def measure_peer(
    kind: str, file: Path, threads: int, *, prompt: int, tokens: int, rounds: int
) -> dict[str, Any]:
    """Tokens per second of one answer and of reading its prompt, the median of ``rounds``."""
    return asyncio.run(_measure(kind, file, threads, prompt, tokens, rounds))


async def _measure(
    kind: str, file: Path, threads: int, prompt: int, tokens: int, rounds: int
) -> dict[str, Any]:
    host = Host(
        gguf=str(file), adapter=None, api_key="", context_length=prompt + tokens + 8, slots=1,
        threads=threads, cache_mib=0,
    )  # fmt: skip
    process = LlamaProcess("peer", host)
    await process.start()
    timings: list[dict[str, float]] = []
    try:
        for number in range(rounds + 1):  # the first warms up
            body: dict[str, Any] = {
                "prompt": [10 + (number + place) % 200 for place in range(prompt)],
                "n_predict": tokens, "temperature": 0, "ignore_eos": True, "cache_prompt": False,
            }  # fmt: skip
            async with process.request("POST", "/completion", body) as response:
                timings.append(json.loads(await response.read())["timings"])
    finally:
        await process.stop()
    return {
        "kind": f"llama.cpp {kind}", "threads": threads,
        "tokens/s": statistics.median(t["predicted_per_second"] for t in timings[1:]),
        "prefill tokens/s": statistics.median(t["prompt_per_second"] for t in timings[1:]),
    }  # fmt: skip
