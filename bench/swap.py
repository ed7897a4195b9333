"""Ten promotions under steady streams: what do the users see?

Streams run all the time. First nothing else happens, then ten checkpoints are promoted one after
the other, each loaded, probed, flipped to, and the last one drained and unloaded. Then the last
two are taken back, one by a click on the operator's page and one by the command. The peer is what
is done without blue and green: the same llama.cpp server, stopped and started again with the next
adapter.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from _release import make_live
from _report import arguments, finish, table
from liveweights.config import Config
from liveweights.engines.llama.engine import LlamaEngine
from liveweights.engines.protocol import EngineError, Sampling
from liveweights.engines.settings import EngineSettings
from liveweights.learn.job import WEIGHTS
from liveweights.learn.policy import Policy
from liveweights.learn.probes import make_probes
from liveweights.learn.settings import LearnSettings
from liveweights.replay.client import Client
from liveweights.replay.service import Service, free_port, write_config
from liveweights.store.database import open_pool
from liveweights.store.embedded import EmbeddedPostgres
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import find, load_tokenizer
from liveweights.weights.probes import FILE
from liveweights.weights.registry import Registry

OPERATOR_KEY = "bench-0123456789"
PAUSE = 5.0
"""Seconds between two restarts of the peer."""
PROMPTS = [
    "def mean(values):\n    return sum(values) /",
    "class Stack:\n    def __init__(self):\n        self.items =",
    "import os\n\nfor name in os.listdir('.'):\n    print(",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
]


@dataclass
class Seen:
    """What one phase's users saw. Gaps are seconds between tokens of one answer."""

    requests: int = 0
    failed: int = 0
    mixed: int = 0
    gaps: list[float] = field(default_factory=list[float])
    first: list[float] = field(default_factory=list[float])
    checkpoints: set[str] = field(default_factory=set[str])
    errors: list[str] = field(default_factory=list[str])

    def figures(self) -> dict[str, Any]:
        ordered = sorted(self.gaps) or [0.0]
        return {
            "requests": self.requests,
            "failed": self.failed,
            "mixed": self.mixed,
            "tokens": len(self.gaps),
            "checkpoints": len(self.checkpoints),
            "gap_p50_ms": 1e3 * ordered[len(ordered) // 2],
            "gap_p99_ms": 1e3 * ordered[int(0.99 * (len(ordered) - 1))],
            "gap_max_ms": 1e3 * ordered[-1],
            "first_token_max_ms": 1e3 * max(self.first, default=0.0),
        }


class Streams:
    """Users who stream one answer after the other; ``seen`` is the phase that is counted now."""

    def __init__(self, url: str, count: int, tokens: int) -> None:
        self.seen = Seen()
        self._url, self._count, self._tokens = url, count, tokens

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=120)
        async with (
            aiohttp.ClientSession(self._url, timeout=timeout) as session,
            asyncio.TaskGroup() as group,
        ):
            for number in range(self._count):
                group.create_task(self._stream(session, number))

    async def _stream(self, session: aiohttp.ClientSession, number: int) -> None:
        for turn in range(10**9):
            body = {
                "model": "code",
                "prompt": f"# {number}.{turn}\n{PROMPTS[turn % len(PROMPTS)]}",
                "max_tokens": self._tokens,
                "temperature": 0.7,
                "stream": True,
                "metadata": {"session": f"stream-{number}-{turn}"},
            }
            try:
                await self._answer(session, body)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                self.seen.failed += 1
                self.seen.errors.append(f"{type(error).__name__}: {error}"[:200])
                await asyncio.sleep(0.05)

    async def _answer(self, session: aiohttp.ClientSession, body: dict[str, Any]) -> None:
        self.seen.requests += 1
        began = last = time.perf_counter()
        named: set[str] = set()
        complete = False
        async with session.post("/v1/completions", json=body) as response:
            if response.status != 200:
                raise ValueError(f"{response.status}: {await response.text()}")
            async for line in response.content:
                if not line.startswith(b"data: "):
                    continue
                now = time.perf_counter()
                if line.startswith(b"data: [DONE]"):
                    complete = True
                    break
                event = msgspec.json.decode(line[6:])
                if "error" in event:
                    raise ValueError(str(event["error"]))
                named.add(event["checkpoint"])
                self.seen.checkpoints.add(event["checkpoint"])
                if last == began:
                    self.seen.first.append(now - began)
                else:
                    self.seen.gaps.append(now - last)
                last = now
        if not complete:
            raise ValueError("the stream broke off")
        self.seen.mixed += len(named) > 1


def make_checkpoints(base: Checkpoint, folder: Path, count: int) -> list[Checkpoint]:
    """``count`` adapters that differ, each with the probes that the deployer asks for."""
    import torch

    tokenizer: Any = load_tokenizer(base)
    prompts = [list(tokenizer(text).input_ids) for text in PROMPTS * 2]
    registry = Registry(folder / "checkpoints")
    policy = Policy(base.folder, None, LearnSettings(rank=8, alpha=16))
    made: list[Checkpoint] = []
    for number in range(count):
        torch.manual_seed(number)
        with torch.no_grad():
            for name, weight in policy.model.named_parameters():
                if "lora_B" in name:
                    weight.normal_(std=0.02)
        staging = folder / "staging" / str(number) / WEIGHTS
        policy.save(staging)
        (staging / FILE).write_bytes(msgspec.json.encode(make_probes(policy, prompts, 1024)))
        card = {"origin": "bench/swap.py: random weights"}
        made.append(
            registry.store(
                staging, base.name, kind="adapter", base=base.id, parent=base.id, card=card
            )
        )
    return made


async def promote_all(dsn: str, made: Sequence[Checkpoint], streams: Streams) -> list[float]:
    """Load, flip to, and see answered by each; seconds from flip to the first such token: users
    ask again when their last answer has ended."""
    pool = await open_pool(dsn)
    flips: list[float] = []
    try:
        for checkpoint in made:
            await make_live(pool, checkpoint, "bench/swap.py", look=0.05)
            flipped = time.perf_counter()
            while checkpoint.id not in streams.seen.checkpoints:
                await asyncio.sleep(0.005)
            flips.append(time.perf_counter() - flipped)
    finally:
        await pool.close()
    return flips


async def answers(session: aiohttp.ClientSession, checkpoint: str) -> float:
    """The moment from which new requests are answered by ``checkpoint``."""
    while True:
        async with session.get("/v1/models/code") as response:
            if (await response.json())["checkpoint"] == checkpoint:
                return time.perf_counter()
        await asyncio.sleep(0.005)


async def roll_back(url: str, home: Path, made: Sequence[Checkpoint]) -> dict[str, float]:
    """Milliseconds from the click, and from the start of the command, until new requests are
    answered by the checkpoint that was live before."""
    found: dict[str, float] = {}
    async with aiohttp.ClientSession(url) as session:
        waiting = asyncio.create_task(answers(session, made[-2].id))
        began = time.perf_counter()
        login = {"authorization": f"Bearer {OPERATOR_KEY}"}
        async with session.post("/releases/rollback", headers=login) as response:
            assert response.status == 200, await response.text()
        found["rollback_click_ms"] = 1e3 * (await waiting - began)
        waiting = asyncio.create_task(answers(session, made[-3].id))
        began = time.perf_counter()
        command = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("liveweights")), "rollback", "--home", str(home)
        )
        assert await command.wait() == 0
        found["rollback_command_ms"] = 1e3 * (await waiting - began)
    return found


async def measure_service(
    kind: str, folder: Path, made: Sequence[Checkpoint], count: int, tokens: int
) -> tuple[Seen, Seen, dict[str, float]]:
    """Users of the public API without and with promotions, on one engine."""
    config = folder / f"{kind}.toml"
    engine = {"kind": kind, "slots": count, "context_length": 512, "threads": 1}
    write_config(config, {"engine": engine, "api": {"operator_key": OPERATOR_KEY}})
    home = folder / kind
    service = Service(home, config, free_port(), folder / f"{kind}.log")
    try:
        async with Client(service.url) as client:
            await service.wait(client, 240)
        streams = Streams(service.url, count, tokens)
        streaming = asyncio.create_task(streams.run())
        dsn = EmbeddedPostgres(home / "postgres").start()
        await asyncio.sleep(5)  # every slot has seen its first prompt
        began = time.perf_counter()
        streams.seen = swaps = Seen()
        flips = await promote_all(dsn, made, streams)
        changes = {"flip_to_first_token_ms": 1e3 * max(flips)}
        changes |= await roll_back(service.url, home, made)
        seconds = time.perf_counter() - began
        streams.seen = calm = Seen()  # as long, under one checkpoint
        await asyncio.sleep(seconds)
        streams.seen = Seen()
        streaming.cancel()
        with suppress(asyncio.CancelledError):
            await streaming
    except BaseException:
        print(service.log.read_text(errors="replace")[-3000:])
        raise
    finally:
        service.stop()
    return calm, swaps, changes


async def measure_restarts(
    base: Checkpoint, made: Sequence[Checkpoint], count: int, tokens: int
) -> Seen:
    """The peer: one llama.cpp server, stopped and started again for each checkpoint."""
    settings = EngineSettings(slots=count, context_length=512, threads=1)
    engine = LlamaEngine(base, Config().cache_folder(), settings)
    tokenizer: Any = load_tokenizer(base)
    prompts = [list(tokenizer(text).input_ids) for text in PROMPTS]
    seen, live = Seen(), base
    await engine.load(base)

    async def stream(number: int) -> None:
        turn = number
        while True:
            turn += 1
            seen.requests += 1
            began, last = time.perf_counter(), None
            try:
                sampling = Sampling(max_tokens=tokens, temperature=0.7)
                prompt = prompts[turn % len(prompts)]
                async for _ in engine.generate(live.id, prompt, sampling):
                    now = time.perf_counter()
                    if last is None:
                        seen.first.append(now - began)
                    else:
                        seen.gaps.append(now - last)
                    last = now
                seen.checkpoints.add(live.id)
            except EngineError:
                seen.failed += 1
                await asyncio.sleep(0.05)

    streaming = [asyncio.create_task(stream(number)) for number in range(count)]
    try:
        for checkpoint in made:
            await asyncio.sleep(PAUSE)
            await engine.unload(live.id)
            await engine.load(checkpoint, base)
            live = checkpoint
    finally:
        for task in streaming:
            task.cancel()
        await asyncio.gather(*streaming, return_exceptions=True)
        await engine.close()
    return seen


def main() -> None:
    options = arguments(
        __doc__ or "",
        engines=("llama,torch", "which of our engines"),
        streams=(4, "users who stream at the same time"),
        tokens=(48, "tokens of an answer"),
        promotions=(10, "checkpoints that are promoted"),
    )
    promotions = min(options.promotions, 3) if options.quick else options.promotions
    kinds = ["llama"] if options.quick else options.engines.split(",")
    folder = Path(tempfile.mkdtemp(prefix="liveweights-swap-"))
    figures: dict[str, Any] = {"promotions": promotions, "streams": options.streams}
    rows: list[list[Any]] = []
    try:
        base = find(Config().model, Config().cache_folder())
        made = make_checkpoints(base, folder, promotions)
        for kind in kinds:
            calm, swaps, changes = asyncio.run(
                measure_service(kind, folder, made, options.streams, options.tokens)
            )
            figures[kind] = {
                "calm": calm.figures(),
                "swaps": swaps.figures(),
                **changes,
                "longest_gap_ratio": max(swaps.gaps) / max(calm.gaps),
            }
            print(kind, *(f"{name} {value:.0f}" for name, value in changes.items()), sep="\n  ")
            for phase, seen in (("calm", calm), ("swaps", swaps)):
                rows.append([kind, phase, *seen.figures().values()])
                if seen.errors:
                    print(kind, phase, *seen.errors[:3], sep="\n  ")
        restarts = asyncio.run(measure_restarts(base, made, options.streams, options.tokens))
        rows.append(["llama.cpp alone", "restarts", *restarts.figures().values()])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    columns = ["engine", "phase", *Seen().figures()]
    table(f"{promotions} promotions under {options.streams} streams", columns, rows)
    finish("swap", options, figures, {"restart": restarts.figures()})


if __name__ == "__main__":
    main()
