"""Load a ternary model in a process of its own and let it answer; what that took, as JSON.

``python bench/_ternary_answer.py FOLDER CACHE TOKENS``
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any


def memory() -> dict[str, int]:
    """Bytes of this process: most at once so far, now, and now without pages of files, which the
    system can take back."""
    kinds = {"VmHWM": "peak", "VmRSS": "resident", "RssAnon": "anonymous"}
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {
        kinds[words[0][:-1]]: int(words[1]) << 10
        for words in lines
        if words and words[0][:-1] in kinds
    }


async def answer(folder: Path, cache: Path, tokens: int) -> dict[str, Any]:
    from liveweights.engines.protocol import Sampling
    from liveweights.engines.settings import EngineSettings
    from liveweights.engines.ternary.engine import TernaryEngine
    from liveweights.weights.models import find

    found: dict[str, Any] = {"imported": memory()}
    base = find(str(folder), cache)
    began = time.perf_counter()
    engine = TernaryEngine(base, cache, EngineSettings(kind="ternary", context_length=512))
    try:
        await engine.load(base)
        found |= {"loaded": memory(), "load_seconds": time.perf_counter() - began}
        found["told"] = engine.memory()
        began = time.perf_counter()
        stamps: list[float] = []
        sampling = Sampling(max_tokens=tokens, temperature=1.0, seed=1)
        prompt = [10 + place % 200 for place in range(128)]
        async for _ in engine.generate(base.id, prompt, sampling):
            stamps.append(time.perf_counter() - began)
        found |= {"answered": memory(), "tokens": len(stamps), "first_seconds": stamps[0]}
        if len(stamps) > 1:
            found["tokens_per_second"] = (len(stamps) - 1) / (stamps[-1] - stamps[0])
    finally:
        await engine.close()
    return found


if __name__ == "__main__":
    given = sys.argv
    print(json.dumps(asyncio.run(answer(Path(given[1]), Path(given[2]), int(given[3])))))
