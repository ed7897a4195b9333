"""Tokens per second through our public API, against the same weights served otherwise.

Decoding at 1, 8 and 32 streams, reading long prompts, and replayed traffic (a developer types;
each prompt goes on from the one before). Peers: the bare llama.cpp server, Transformers'
continuous batching, and, where their environments are, vLLM on a CPU (`make .venv-vllm`) and
OpenVINO GenAI (`make .venv-openvino`). Every contender runs alone, on the same threads; what
differs is named: the precision of its weights. `--engine` says which engine of ours is asked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import torch

from _report import arguments, finish, table
from liveweights.config import Config
from liveweights.engines.llama.host import Host
from liveweights.engines.llama.process import LlamaProcess
from liveweights.engines.openvino.model import fast_dtype
from liveweights.learn.updaters.load import multiplies_bfloat16
from liveweights.weights.gguf import to_gguf
from liveweights.weights.models import find, load_tokenizer, parameters

ROOT = Path(__file__).parent.parent
CONTEXT = 1024
STREAMS = (1, 8, 32)
Job = tuple[list[int], int]
"""A prompt's token ids and how many tokens to decode."""
Ask = Callable[[Job], "asyncio.Future[int]"]


@dataclass
class Work:
    """What every contender is asked. No two prompts of ``decode`` and ``prefill`` begin alike."""

    decode: dict[int, list[Job]]
    prefill: list[Job]
    replay: list[list[Job]]

    @classmethod
    def make(cls, tokenizer: Any, quick: bool) -> Work:
        text = "\n".join(Path(module).read_text() for module in sources())
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
        place = 0

        def take(count: int) -> list[int]:
            nonlocal place
            place += count
            return ids[place - count : place]

        answer = 16 if quick else 64
        decode = {n: [(take(64), answer) for _ in range(n)] for n in STREAMS}
        prefill = [(take(512), 1) for _ in range(2 if quick else 8)]
        replay: list[list[Job]] = []
        for _ in range(4):
            file = take(640)
            steps = range(400, 640, 40 if quick else 12)
            replay.append([(file[:end], 8) for end in steps])
        return cls(decode, prefill, replay)


def sources() -> list[str]:
    """Files of the standard library, the same on every machine with this Python."""
    import argparse
    import ast
    import asyncio.base_events
    import asyncio.streams
    import collections
    import dataclasses
    import difflib
    import inspect

    modules = (argparse, inspect, difflib, ast, collections, dataclasses)
    more = (asyncio.base_events, asyncio.streams)
    return [str(module.__file__) for module in (*modules, *more)]


@dataclass
class Found:
    """Tokens per second."""

    precision: str
    decode: dict[int, float] = field(default_factory=dict[int, float])
    prefill: float = 0.0
    replay: float = 0.0
    """Answers per second."""


async def measure(ask: Any, work: Work, precision: str) -> Found:
    """``ask(job)`` gives how many tokens were decoded."""
    found = Found(precision)
    await ask(([1, 2, 3, 4], 4))
    for streams, jobs in work.decode.items():
        began = time.perf_counter()
        counts = await asyncio.gather(*(ask(job) for job in jobs))
        found.decode[streams] = sum(counts) / (time.perf_counter() - began)
    began = time.perf_counter()
    for job in work.prefill:
        await ask(job)
    found.prefill = sum(len(ids) for ids, _ in work.prefill) / (time.perf_counter() - began)

    async def developer(jobs: list[Job]) -> int:
        return sum([1 for job in jobs if await ask(job) >= 0])

    began = time.perf_counter()
    answers = await asyncio.gather(*(developer(jobs) for jobs in work.replay))
    found.replay = sum(answers) / (time.perf_counter() - began)
    return found


@asynccontextmanager
async def ours(engine: str, threads: int, folder: Path) -> AsyncGenerator[Any]:
    """``liveweights serve``, asked as users ask it."""
    port = free_port()
    settings = folder / "settings.toml"
    settings.write_text(
        f'[engine]\nkind = "{engine}"\n'
        f"threads = {threads}\nslots = {max(STREAMS)}\ncontext_length = {CONTEXT}\n"
        f"[api]\nport = {port}\n"
    )
    command = [sys.executable, "-c", "from liveweights.cli import main; main()", "serve"]
    command += ["--config", str(settings), "--home", str(folder / "home")]
    async with child(command, folder / "ours.log"), session(f"http://127.0.0.1:{port}") as http:

        async def ask(job: Job) -> int:
            body = {"model": "code", "prompt": job[0], "max_tokens": job[1], "temperature": 0}
            body |= {"stream": True, "stream_options": {"include_usage": True}}
            return await count(http, "/v1/completions", body)

        await until(http, "/healthz")
        yield ask


@asynccontextmanager
async def bare(threads: int, gguf: Path) -> AsyncGenerator[Any]:
    """llama.cpp's own server, without us in front, streaming and without probabilities."""
    host = Host(
        gguf=str(gguf),
        adapter=None,
        api_key="",
        context_length=CONTEXT + 8,
        slots=max(STREAMS),
        threads=threads,
        cache_mib=512,
    )
    process = LlamaProcess("bare", host)
    await process.start()

    async def ask(job: Job) -> int:
        body = {"prompt": job[0], "n_predict": job[1], "temperature": 0, "stream": True}
        last: dict[str, Any] = {}
        async with process.request("POST", "/completion", body) as response:
            async for line in response.content:
                if line.startswith(b"data: "):
                    last = json.loads(line[6:])
        return int(last["tokens_predicted"])

    try:
        yield ask
    finally:
        await process.stop()


@asynccontextmanager
async def vllm(threads: int, model: Path, dtype: str, folder: Path) -> AsyncGenerator[Any]:
    port = free_port()
    command = [str(ROOT / ".venv-vllm/bin/python"), "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(model), "--served-model-name", "code", "--port", str(port)]
    command += ["--dtype", dtype, "--max-model-len", str(CONTEXT), "--host", "127.0.0.1"]
    command += ["--max-num-seqs", str(max(STREAMS)), "--disable-uvicorn-access-log"]
    env = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    env |= {"OMP_NUM_THREADS": str(threads), "VLLM_NO_USAGE_STATS": "1"}
    log = folder / "vllm.log"
    async with child(command, log, **env), session(f"http://127.0.0.1:{port}") as http:

        async def ask(job: Job) -> int:
            body = {"model": "code", "prompt": job[0], "max_tokens": job[1], "temperature": 0}
            body |= {"stream": True, "stream_options": {"include_usage": True}}
            return await count(http, "/v1/completions", body)

        await until(http, "/health")
        yield ask


@asynccontextmanager
async def openvino(threads: int, gguf: Path, folder: Path) -> AsyncGenerator[Any]:
    """Continuous batching and reuse of prefixes; without HTTP and streaming, so a little less."""
    command = [str(ROOT / ".venv-openvino/bin/python"), str(ROOT / "bench/_openvino.py")]
    command += [str(gguf), str(threads), str(max(STREAMS)), str(CONTEXT)]
    with (folder / "openvino.log").open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=out
        )
    assert process.stdin is not None
    assert process.stdout is not None
    asking, answers = process.stdin, process.stdout
    waiting: dict[int, asyncio.Future[int]] = {}
    loop = asyncio.get_running_loop()

    async def collect() -> None:
        async for line in answers:
            id, count = json.loads(line)
            waiting.pop(id).set_result(count)
        for future in waiting.values():
            future.set_exception(ConnectionError("OpenVINO GenAI ended"))

    async def ask(job: Job) -> int:
        future: asyncio.Future[int] = loop.create_future()
        waiting[id(future)] = future
        asking.write(json.dumps([id(future), *job]).encode() + b"\n")
        return await future

    try:
        if await answers.readline() != b"[]\n":
            raise SystemExit((folder / "openvino.log").read_text(errors="replace")[-2000:])
        collector = asyncio.create_task(collect())
        yield ask
        asking.close()
        await collector
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@asynccontextmanager
async def transformers(threads: int, model: Path, dtype: str) -> AsyncGenerator[Any]:
    """Its continuous batching, with paged attention, in this process."""
    from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

    torch.set_num_threads(threads)
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        model,
        dtype=getattr(torch, dtype),
        attn_implementation="sdpa",
        trust_remote_code=False,
    ).eval()
    config = GenerationConfig(max_new_tokens=64, do_sample=False, eos_token_id=-1, pad_token_id=0)
    # Left alone, it takes nearly all of the machine's memory for its pages.
    pages = ContinuousBatchingConfig(num_blocks=96, max_batch_tokens=1024)
    manager = loaded.init_continuous_batching(config, pages)
    manager.start()
    waiting: dict[str, asyncio.Future[int]] = {}
    loop = asyncio.get_running_loop()

    async def collect() -> None:
        while True:
            result = await asyncio.to_thread(manager.get_result, timeout=0.2)
            if result is not None and result.is_finished() and result.request_id in waiting:
                waiting.pop(result.request_id).set_result(len(result.generated_tokens))

    async def ask(job: Job) -> int:
        future: asyncio.Future[int] = loop.create_future()
        waiting[manager.add_request(job[0], max_new_tokens=job[1])] = future
        return await future

    collector = asyncio.create_task(collect())
    try:
        yield ask
    finally:
        collector.cancel()
        manager.stop(block=True)


async def count(http: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> int:
    """The tokens of a streamed answer, by its closing usage."""
    usage = None
    async with http.post(path, json=body) as response:
        if response.status != 200:
            raise SystemExit(f"{path} answered {response.status}: {await response.text()}")
        async for line in response.content:
            if b'"usage":{' in line:
                usage = json.loads(line[6:])["usage"]
    assert usage is not None
    return int(usage["completion_tokens"])


@asynccontextmanager
async def session(url: str) -> AsyncGenerator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=None)
    # Servers close idle connections, uvicorn's after 5 s: ours are gone by then.
    connections = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
    async with aiohttp.ClientSession(url, timeout=timeout, connector=connections) as http:
        yield http


@asynccontextmanager
async def child(command: list[str], log: Path, **env: str) -> AsyncGenerator[None]:
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=out, stderr=out, env={**os.environ, **env}, start_new_session=True
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 30)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)


async def until(http: aiohttp.ClientSession, path: str, seconds: float = 300) -> None:
    """Wait for a 200."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                async with http.get(path) as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def machine(threads: int) -> tuple[float, float]:
    """Read bandwidth in bytes/s and float32 matrix rate in FLOP/s, best of five."""
    torch.set_num_threads(threads)
    block, square = torch.ones(1 << 27), torch.randn(1536, 1536)

    def best(work: Callable[[], object]) -> float:
        times: list[float] = []
        for _ in range(5):
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
        return min(times)

    read = block.nelement() * 4 / best(block.sum)
    return read, 2 * 1536**3 / best(lambda: square @ square)


async def run(options: argparse.Namespace, folder: Path) -> dict[str, Found]:
    cache = Config().cache_folder()
    base = find(options.model, cache)
    work = Work.make(load_tokenizer(base), options.quick)
    threads = options.threads
    gguf = to_gguf(base, cache, "q8_0")
    fast = "bfloat16" if multiplies_bfloat16() else "float32"
    precision = {"llama": "q8_0", "torch": "float32"}.get(options.engine) or fast_dtype()
    contenders: dict[str, tuple[Any, str]] = {
        "liveweights": (ours(options.engine, threads, folder), precision),
        "llama.cpp server": (bare(threads, gguf), "q8_0"),
        "Transformers": (transformers(threads, base.folder, fast), fast),
    }
    if (ROOT / ".venv-vllm").exists():
        contenders["vLLM"] = (vllm(threads, base.folder, fast, folder), fast)
    else:
        print("vLLM is skipped: `make .venv-vllm` installs it")
    if (ROOT / ".venv-openvino").exists():
        half = to_gguf(base, cache, "f16")
        contenders["OpenVINO GenAI"] = (openvino(threads, half, folder), "float16")
    else:
        print("OpenVINO GenAI is skipped: `make .venv-openvino` installs it")
    found: dict[str, Found] = {}
    wanted = set(options.contenders.split(",")) if options.contenders else set(contenders)
    if unknown := wanted - set(contenders):
        there = ", ".join(contenders)
        raise SystemExit(f"no such contender: {', '.join(unknown)}; there are {there}")
    wanted.add("liveweights")  # what all others are compared with
    for name, (contender, precision) in contenders.items():
        if name not in wanted:
            continue
        print(name, flush=True)
        try:
            async with contender as ask:
                found[name] = await measure(ask, work, precision)
        except (aiohttp.ClientError, ConnectionError) as error:
            if name == "liveweights":
                raise
            log = folder / f"{name.lower()}.log"
            end = log.read_text(errors="replace")[-1500:] if log.exists() else ""
            print(f"{name} is left out, it failed: {error!r}\n{end}")
    return found


def main() -> None:
    cores = len(os.sched_getaffinity(0))
    options = arguments(
        __doc__ or "",
        model=(Config().model, "packaged name or folder"),
        threads=(cores, "threads that compute"),
        engine=("llama", "ours: llama, openvino or torch"),
        contenders=("", "only these besides liveweights, comma-separated; empty: all"),
    )
    folder = Path(tempfile.mkdtemp(prefix="liveweights-bench-"))
    folder.chmod(0o711)
    bandwidth, rate = machine(options.threads)
    try:
        found = asyncio.run(run(options, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(found, options, bandwidth, rate)


def report(
    found: dict[str, Found], options: argparse.Namespace, bandwidth: float, rate: float
) -> None:
    base = find(options.model, Config().cache_folder())
    size = parameters(base.folder)
    weights = {
        "q8_0": to_gguf(base, Config().cache_folder(), "q8_0").stat().st_size,
        "bfloat16": 2 * size,
        "float32": 4 * size,
    }[found["liveweights"].precision]
    rows, figures = [], {}
    for name, f in found.items():
        rows.append([name, f.precision, *f.decode.values(), f.prefill, f.replay])
        figures[name] = {
            "precision": f.precision,
            **{f"decode_{n}": value for n, value in f.decode.items()},
            "prefill": f.prefill,
            "replay_answers": f.replay,
        }
    columns = ("", "weights", *(f"{n} streams" for n in STREAMS), "prompts", "replay, answers")
    table("Tokens per second", columns, rows)
    ours = figures.pop("liveweights")
    ours["bandwidth_share"] = ours["decode_1"] * weights / bandwidth
    ours["matrix_share"] = ours["prefill"] * 2 * size / rate
    print(
        f"decoding reads {ours['bandwidth_share']:.0%} of {bandwidth / 1e9:.1f} GB/s; prompts use "
        f"{ours['matrix_share']:.0%} of {rate / 1e9:.0f} GFLOP/s (float32)"
    )
    for name, peer in figures.items():
        ratios = [f"{k} {ours[k] / peer[k]:.2f}x" for k in peer if k != "precision"]
        print(f"liveweights / {name}: {', '.join(ratios)}")
    finish("engine", options, ours, figures)


if __name__ == "__main__":
    main()
