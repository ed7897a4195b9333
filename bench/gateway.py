"""What a gateway adds: time to the first chunk, gap between chunks, CPU, and streams held.

Ours (recording into Postgres), a bare aiohttp pass-through and LiteLLM's proxy stand in front of
the same local server, each a process of its own, and take turns. LiteLLM is there if
`.venv-litellm` is (`make .venv-litellm`).

With `--money` ours takes turns with itself: once as above, once with a key, limits, budgets of the
key and of its tenant, and prices. The ledger has an entry for each answer in both: there is no
service without.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from aiohttp import web

from _account import make_account, read_bill, write_settings
from _litellm import start, start_litellm, stop
from _report import arguments, finish, table

CHUNK = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"stub",'
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":" token"},'
    b'"finish_reason":null}]}\n\n'
)
END = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"stub",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
PAUSE, CHUNKS = "x-pause-ms", "x-chunks"


async def stub(request: web.Request) -> web.StreamResponse:
    """Streams as many chunks, as far apart, as the request's headers ask for."""
    await request.read()
    pause = float(request.headers.get(PAUSE, "0")) / 1000
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for _ in range(int(request.headers.get(CHUNKS, "32"))):
        await response.write(CHUNK)
        if pause:
            await asyncio.sleep(pause)
    await response.write(END)
    return response


def bare(upstream: str) -> web.Application:
    """The least that a pass-through can do in this language."""
    app = web.Application()

    async def relay(request: web.Request) -> web.StreamResponse:
        session: aiohttp.ClientSession = request.app["session"]
        passed = {k: v for k, v in request.headers.items() if k.lower() not in ("host",)}
        body = await request.read()
        async with session.post(upstream + request.path, data=body, headers=passed) as came:
            response = web.StreamResponse(headers={"content-type": came.headers["content-type"]})
            await response.prepare(request)
            async for chunk in came.content.iter_any():
                await response.write(chunk)
            return response

    async def open_session(app: web.Application) -> Any:
        app["session"] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        yield
        await app["session"].close()

    app.cleanup_ctx.append(open_session)
    app.router.add_post("/{path:.*}", relay)
    return app


def serve(role: str, port: int, upstream: str) -> None:
    """A child process of this benchmark."""
    app = web.Application()
    app.router.add_post("/{path:.*}", stub)
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    web.run_app(bare(upstream) if role == "bare" else app, port=port, print=None)


@dataclass
class Contender:
    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path
    account: tuple[Path, Path] | None = None
    """Settings and home where an account has to be opened first."""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    role: str = ""
    """Word in the command line of the processes whose CPU counts; empty: the whole tree."""
    first_ms: list[float] = field(default_factory=list[float])
    gaps_ms: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])
    held: int = 0
    held_gap_ms: float = 0.0

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1/chat/completions"

    def cpu_seconds(self) -> float:
        """User and system time of its processes, from /proc."""
        ticks = 0.0
        for pid in tree(self.process.pid):
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if self.role in line:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """A process and all below it."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            below.setdefault(int(stat[1]), []).append(int(entry.name))
    found, queue = [], [root]
    while queue:
        found.append(queue.pop())
        queue += below.get(found[-1], [])
    return found


async def one(
    session: aiohttp.ClientSession, contender: Contender, chunks: int, pause: float
) -> list[float]:
    """Times in ms from the request to each part of the answer. Raises for a broken one."""
    body = {"model": "stub", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    headers = {PAUSE: str(pause), CHUNKS: str(chunks), **contender.headers}
    began, times, tail = time.perf_counter(), [], b""
    async with session.post(contender.url, json=body, headers=headers) as response:
        response.raise_for_status()
        async for part in response.content.iter_any():
            times.append((time.perf_counter() - began) * 1000)
            tail = (tail + part)[-64:]
    if b"[DONE]" not in tail:
        raise ConnectionError("the stream broke off")
    return times


async def latency(session: aiohttp.ClientSession, contender: Contender, streams: int) -> None:
    """One stream at a time, a chunk every 5 ms."""
    for _ in range(streams):
        times = await one(session, contender, 24, 5)
        contender.first_ms.append(times[0])
        contender.gaps_ms += [b - a for a, b in pairwise(times)]


async def load(session: aiohttp.ClientSession, contender: Contender, requests: int) -> None:
    """Eight at a time, 32 chunks each, a millisecond apart, so that they are passed one by one."""
    before = contender.cpu_seconds()
    left = iter(range(requests))

    async def client() -> None:
        for _ in left:
            await one(session, contender, 32, 1)

    await asyncio.gather(*(client() for _ in range(8)))
    contender.cpu.append((contender.cpu_seconds() - before) / requests * 1000)


async def hold(session: aiohttp.ClientSession, contender: Contender, streams: int) -> None:
    """All at once, ten chunks, half a second apart."""
    found = await asyncio.gather(
        *(one(session, contender, 10, 500) for _ in range(streams)), return_exceptions=True
    )
    whole = [times for times in found if isinstance(times, list)]
    gaps = [b - a for times in whole for a, b in pairwise(times)]
    contender.held = len(whole)
    contender.held_gap_ms = quantile(gaps, 0.99) if gaps else float("nan")


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


async def ready(session: aiohttp.ClientSession, contender: Contender, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    if contender.account and not await open_account(session, contender, deadline):
        return False
    while time.monotonic() < deadline and contender.process.poll() is None:
        try:
            await one(session, contender, 1, 0)
            return True
        except (aiohttp.ClientError, ConnectionError):
            await asyncio.sleep(0.2)
    return False


async def open_account(
    session: aiohttp.ClientSession, contender: Contender, deadline: float
) -> bool:
    """Once the service is there; its key is sent from then on."""
    assert contender.account is not None
    while time.monotonic() < deadline and contender.process.poll() is None:
        try:
            async with session.get(contender.root + "/healthz") as answer:
                if answer.status == 200:
                    key = await asyncio.to_thread(make_account, *contender.account)
                    contender.headers["authorization"] = f"Bearer {key}"
                    return True
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.2)
    return False


async def measure(contenders: list[Contender], options: argparse.Namespace) -> list[Contender]:
    rounds, requests = (2, 80) if options.quick else (5, 400)
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        found = [c for c in contenders if await ready(session, c, 240)]
        for lost in contenders:
            if lost not in found:
                print(f"{lost.name} is skipped: it does not start; the end of its log:")
                print(lost.log.read_text(errors="replace")[-2000:])
        for contender in found:
            await load(session, contender, 40)  # connections, caches, code that is loaded late
            contender.cpu.clear()
        for _ in range(rounds):
            for contender in found:
                await latency(session, contender, 8)
                await load(session, contender, requests)
        for contender in found:
            await hold(session, contender, 100 if options.quick else 500)
    return found


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]), sys.argv[4])
        return
    options = arguments(
        __doc__ or "", money=(False, "what keys, limits, budgets and prices cost, and nothing else")
    )
    folder = Path(tempfile.mkdtemp(prefix="liveweights-bench-"))
    folder.chmod(0o711)
    ports = [free_port() for _ in range(4)]
    upstream = f"http://127.0.0.1:{ports[0]}"
    own = [sys.executable, __file__, "serve"]
    log = folder / "stub.log"
    direct = start([*own, "stub", str(ports[0]), ""], log)
    contenders = [Contender("direct", ports[0], direct, log)]
    try:
        make = money if options.money else peers
        contenders += make(folder, ports[1:], upstream)
        found = uvloop.run(measure(contenders, options))
        bills = [read_bill(*one.account) for one in found if one.account]
    finally:
        for contender in contenders:
            if contender.process.poll() is None:
                contender.process.send_signal(signal.SIGTERM)
        for contender in contenders:
            stop(contender.process)
        shutil.rmtree(folder, ignore_errors=True)
    report_money(found, bills, options) if options.money else report(found, options)


def start_own(folder: Path, *words: str, name: str) -> Contender:
    """Ours; ``words`` are those of `liveweights up`."""
    port = int(words[words.index("--port") + 1])
    log = folder / f"{name}.log"
    up = [sys.executable, "-c", "from liveweights.cli import main; main()", "up", *words]
    return Contender(name, port, start(up, log), log, role="liveweights.app")


def money(folder: Path, ports: list[int], upstream: str) -> list[Contender]:
    """Ours without and with what is sold."""
    homes = folder / "without", folder / "with"
    config = write_settings(folder, upstream, ports[1])
    words = "--upstream", upstream, "--port", str(ports[0]), "--home", str(homes[0])
    off = start_own(folder, *words, name="liveweights")
    words = "--config", str(config), "--port", str(ports[1]), "--home", str(homes[1])
    on = start_own(folder, *words, name="with keys, limits, budgets, prices")
    on.account = config, homes[1]
    return [off, on]


def peers(folder: Path, ports: list[int], upstream: str) -> list[Contender]:
    """A bare pass-through, ours, and LiteLLM's proxy where it is installed."""
    own = [sys.executable, __file__, "serve"]
    log = folder / "bare.log"
    process = start([*own, "bare", str(ports[0]), upstream], log)
    contenders = [Contender("bare pass-through", ports[0], process, log)]
    words = "--upstream", upstream, "--port", str(ports[1]), "--home", str(folder / "home")
    contenders.append(start_own(folder, *words, name="liveweights"))
    log = folder / "litellm.log"
    if (process := start_litellm(folder, upstream, ports[2], log)) is not None:
        contenders.append(Contender("LiteLLM proxy", ports[2], process, log))
    return contenders


def report_money(
    found: list[Contender], bills: list[tuple[int, int]], options: argparse.Namespace
) -> None:
    """CPU of both, round by round, and the bill."""
    rows = [[c.name, statistics.median(c.cpu), statistics.median(c.first_ms)] for c in found[1:]]
    columns = ("", "CPU s / 1,000", "first chunk, ms")
    table("What keys, limits, budgets and prices cost", columns, rows)
    off, on = found[1:]
    ratios = sorted(b / max(a, 1e-9) for a, b in zip(off.cpu, on.cpu, strict=True))
    ((entries, nanos),) = bills
    figures = {
        "cpu_seconds_per_1000_off": statistics.median(off.cpu),
        "cpu_seconds_per_1000_on": statistics.median(on.cpu),
        "cpu_on_over_off": sum(on.cpu) / sum(off.cpu),
        "cpu_on_over_off_least": ratios[0],
        "cpu_on_over_off_most": ratios[-1],
        "entries": entries,
        "nanos": nanos,
    }
    print(f"CPU with / without: {figures['cpu_on_over_off']:.3f} (of all rounds)")
    finish("gateway", options, figures, {})


def report(found: list[Contender], options: argparse.Namespace) -> None:
    base = found[0]
    rows, figures = [], {}
    for c in found:
        figures[c.name] = {
            "added_first_ms": statistics.median(c.first_ms) - statistics.median(base.first_ms),
            "added_gap_ms": statistics.median(c.gaps_ms) - statistics.median(base.gaps_ms),
            "gap_p99_ms": quantile(c.gaps_ms, 0.99),
            "cpu_seconds_per_1000": statistics.median(c.cpu),
            "held": c.held,
            "held_gap_p99_ms": c.held_gap_ms,
        }
        rows.append([c.name, *figures[c.name].values()])
    columns = ("", "first chunk, + ms", "gap, + ms", "gap p99, ms", "CPU s / 1,000")
    table("What a gateway adds", (*columns, "streams held", "their gap p99, ms"), rows)
    ours, peers = figures.pop("liveweights", {}), figures
    if ours:
        for name, peer in peers.items():
            if name == base.name:  # its CPU is the server's own
                continue
            ratio = ours["cpu_seconds_per_1000"] / max(peer["cpu_seconds_per_1000"], 1e-9)
            print(f"CPU of liveweights / {name}: {ratio:.2f}")
    finish("gateway", options, ours, peers)


if __name__ == "__main__":
    main()
