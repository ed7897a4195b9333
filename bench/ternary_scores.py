"""A ternary model beside the dense one that it was made of, and beside the dense one quantised to
about as many bytes: the same cases of the scoreboard's suites, with what an answer costs.

One service has all three. Each is asked in turn, alone, so that what is spent is its own: seconds,
processor time, and joules where the processor tells them. The scoreboard then says what is told
apart. Suites are those of the gate; without more packages `knowledge`, `competition` (reasoning)
and `polyglot` (code, in the sandbox).
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _energy import Meter
from _report import arguments, finish, table
from liveweights.config import Config
from liveweights.replay.client import Client
from liveweights.replay.service import Service, free_port, write_config
from liveweights.weights.content import weight_files
from liveweights.weights.gguf import to_gguf
from liveweights.weights.models import DEFAULT_MODEL, find
from ternary_cycles import find_distilled

START_SECONDS = 300.0


def models_of(options: Namespace) -> dict[str, dict[str, Any]]:
    """Tables of the settings by public name."""
    dense = options.dense or DEFAULT_MODEL
    ternary = options.model or str(find_distilled(options.quick))
    return {
        "ternary": {"base": ternary, "learn": False, "engine": {"kind": "ternary"}},
        "dense": {"base": dense, "learn": False, "engine": {"kind": "torch"}},
        "quantised": {
            "base": dense,
            "learn": False,
            "engine": {"kind": "llama", "precision": options.precision},
        },
    }


def size_of(table: dict[str, Any], cache: Path) -> int:
    """Bytes of the weights that are served."""
    base = find(table["base"], cache)
    if table["engine"]["kind"] == "llama":
        return to_gguf(base, cache, table["engine"]["precision"]).stat().st_size
    return sum(file.stat().st_size for file in weight_files(base.folder))


def run(options: Namespace, folder: Path) -> dict[str, Any]:
    cache = Config().cache_folder()
    models = models_of(options)
    config = folder / "liveweights.toml"
    write_config(config, {"engine": {"threads": options.threads, "slots": 2}, "models": models})
    service = Service(folder / "home", config, free_port(), folder / "service.log")
    found: dict[str, Any] = {}
    try:
        asyncio.run(wait(service))
        for name, table_ in models.items():
            words = ["run", "--models", name, "--suites", options.suites]
            words += ["--cases", str(options.cases)]
            meter, began = Meter(service.pid), time.monotonic()
            command(service, *words)
            seconds, spent = time.monotonic() - began, meter.read()
            found[name] = {
                "bytes": size_of(table_, cache), "seconds": seconds,
                "cpu_seconds": spent.seconds, "joules": spent.joules,
            }  # fmt: skip
            print(f"{name}: {found[name]}", flush=True)
        tables = json.loads(command(service, "show", "--format", "json"))
        print(command(service, "show"))
        sentences = {
            other: command(service, "compare", "ternary", other, fine=(0, 1, 3)).strip()
            for other in models
            if other != "ternary"
        }
    finally:
        service.stop()
    return {"models": found, "tables": tables, "sentences": sentences}


async def wait(service: Service) -> None:
    async with Client(service.url, timeout=300) as client:
        await service.wait(client, START_SECONDS)


def command(service: Service, *words: str, fine: Sequence[int] = (0,)) -> str:
    """What ``liveweights scoreboard`` prints. Raises RuntimeError where it fails."""
    ended = subprocess.run(
        service.command("scoreboard", *words), capture_output=True, text=True, check=False
    )
    if ended.returncode not in fine:
        raise RuntimeError(f"scoreboard {' '.join(words)}: {ended.stderr[-2000:]}")
    return ended.stdout


def main() -> None:
    options = arguments(
        __doc__ or "",
        model=("", "ternary model; empty: the last that bench/ternary_quality.py trained"),
        dense=("", "the model it was made of; empty: the packaged one"),
        precision=("q4_0", "of the quantised one: what has about as many bytes"),
        suites=("knowledge,competition,polyglot", "names, with commas"),
        cases=(40, "of each suite"),
        threads=(1, "of each engine"),
    )
    if options.quick:
        options.suites, options.cases = "knowledge", 4
    with tempfile.TemporaryDirectory(prefix="liveweights-ternary-") as name:
        found = run(options, Path(name))
    count = options.cases * len(options.suites.split(","))
    rows = [
        [name, one["bytes"], one["seconds"] / count, one["cpu_seconds"] / count,
         None if one["joules"] is None else one["joules"] / count]
        for name, one in found["models"].items()
    ]  # fmt: skip
    table("An answer", ("model", "bytes of weights", "seconds", "CPU seconds", "joules"), rows)
    for sentence in found["sentences"].values():
        print(sentence)
    finish("ternary_scores", options, found, {})


if __name__ == "__main__":
    main()
