"""What a gateway bills, beside what its upstream really gave.

The same traffic goes through ours and through LiteLLM's proxy: whole answers and streams, several
choices, prompts from a cache, clients that leave, an upstream that fails or breaks off and is asked
again. The upstream notes each token that it read and sampled: what it gave, at the same prices, is
the true bill. Each contender has its own upstream, since it decides itself when to stop one whose
client has left. LiteLLM is there if `.venv-litellm` is (`make .venv-litellm`).
"""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from rich.progress import Progress

from _account import make_account, query
from _bill_traffic import KINDS, Case, Given, Upstream, ask, make_cases
from _litellm import start_litellm, stop
from _report import Cell, arguments, finish, table
from liveweights.config import Config
from liveweights.replay.client import Client
from liveweights.replay.service import Service, free_port, write_config
from liveweights.weights.models import DEFAULT_MODEL, find

INPUT, CACHED, OUTPUT = 1.0, 0.25, 4.0
"""Dollars per million tokens, which are thousands of nanos per token."""
AT_ONCE = 8
PAUSE = 0.02
"""Seconds between two tokens."""
STILL = 3.0
"""Seconds without a new line after which a bill is complete."""
BILL = """
select g.seed as number, sum(c.nanos)::bigint as nanos
from charges c join generations g on g.id = c.id where g.seed is not null group by 1
"""


@dataclass
class Contender:
    """``read`` says what each case was billed, in nanos; those without a line are not there."""

    name: str
    url: str
    upstream: Upstream
    read: Callable[[], dict[int, int]]
    key: str = ""
    asked: int = 0
    billed: dict[int, int] = field(default_factory=dict[int, int])

    def true(self, number: int) -> int:
        return sum(map(price, self.upstream.given[number]))


def price(given: Given) -> int:
    """Nanos."""
    fresh = given.prompt - given.cached
    return round(1000 * (fresh * INPUT + given.cached * CACHED + given.output * OUTPUT))


def main() -> None:
    options = arguments(__doc__ or "", answers=(520, "requests, the same for each contender"))
    if options.quick:
        options.answers = min(options.answers, 2 * len(KINDS))
    folder = Path(tempfile.mkdtemp(prefix="liveweights-bench-"))
    folder.chmod(0o711)
    try:
        contenders = asyncio.run(_run(folder, options))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _report(contenders, options)


async def _run(folder: Path, options: Namespace) -> list[Contender]:
    cases = make_cases(options.answers)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        )
        contenders = [await _start_own(stack, folder, Upstream(cases, PAUSE))]
        peer = await _start_peer(stack, folder, Upstream(cases, PAUSE), session)
        contenders += [] if peer is None else [peer]
        with Progress() as progress:
            for one in contenders:
                await _send_all(one, cases, session, progress)
                one.billed = await _settled(one)
    return contenders


async def _send_all(
    one: Contender, cases: list[Case], session: aiohttp.ClientSession, progress: Progress
) -> None:
    task = progress.add_task(one.name, total=len(cases))
    left = iter(enumerate(cases))

    async def client() -> None:
        for number, case in left:
            one.asked += await ask(session, one.url, one.key, case, number, PAUSE)
            progress.advance(task)

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))


async def _settled(one: Contender) -> dict[int, int]:
    """The bill, once nothing is added to it any more."""
    billed: dict[int, int] = {}
    since = time.monotonic()
    while time.monotonic() - since < STILL:
        await asyncio.sleep(0.5)
        found = await asyncio.to_thread(one.read)
        if found != billed:
            billed, since = found, time.monotonic()
    return billed


async def _serve(stack: AsyncExitStack, upstream: Upstream) -> str:
    """Its address. Who is asked by nobody any more samples nothing more."""
    runner = web.AppRunner(upstream.app(), handler_cancellation=True)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return f"http://127.0.0.1:{port}"


async def _start_own(stack: AsyncExitStack, folder: Path, upstream: Upstream) -> Contender:
    """The gateway with keys, budgets and prices. It counts with a tokenizer, as the peer does."""
    tokenizer = await asyncio.to_thread(find, DEFAULT_MODEL, Config().cache_folder())
    config, home, port = folder / "own.toml", folder / "home", free_port()
    settings = {
        "gateway": {
            "upstream": await _serve(stack, upstream),
            "tokenizer": str(tokenizer.folder),
        },
        "api": {"require_keys": True},
        "prices": {"stub": {"input": INPUT, "cached_input": CACHED, "output": OUTPUT}},
    }
    write_config(config, settings)
    service = Service(home, config, port, folder / "own.log")
    stack.push_async_callback(asyncio.to_thread, service.stop)
    async with Client(service.url) as client:
        await service.wait(client, 240)
    key = await asyncio.to_thread(make_account, config, home)

    def read() -> dict[int, int]:
        return {int(row["number"]): int(row["nanos"]) for row in query(config, home, BILL)}

    return Contender("liveweights", f"{service.url}/v1/chat/completions", upstream, read, key)


async def _start_peer(
    stack: AsyncExitStack, folder: Path, upstream: Upstream, session: aiohttp.ClientSession
) -> Contender | None:
    """LiteLLM's proxy, with the same prices."""
    shutil.copy(Path(__file__).with_name("_litellm_bill.py"), folder)
    log, bill, port = folder / "litellm.log", folder / "litellm.bill", free_port()
    bill.touch()
    process = start_litellm(
        folder,
        await _serve(stack, upstream),
        port,
        log,
        params={
            "input_cost_per_token": INPUT / 10**6,
            "cache_read_input_token_cost": CACHED / 10**6,
            "output_cost_per_token": OUTPUT / 10**6,
        },
        settings={"callbacks": "_litellm_bill.bill"},
        env={"BILL": str(bill)},
    )
    if process is None:
        return None
    stack.push_async_callback(asyncio.to_thread, stop, process)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        try:
            async with session.get(f"{url}/health/liveliness") as answer:
                if answer.status == 200:
                    break
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.5)
    else:
        raise SystemExit(f"LiteLLM does not start; the end of its log:\n{log.read_text()[-2000:]}")

    def read() -> dict[int, int]:
        billed: dict[int, int] = {}
        for line in bill.read_text().splitlines():
            entry: dict[str, Any] = json.loads(line)
            nanos = round((entry["cost"] or 0.0) * 10**9)
            billed[entry["number"]] = billed.get(entry["number"], 0) + nanos
        return billed

    return Contender("LiteLLM proxy", f"{url}/v1/chat/completions", upstream, read)


def _report(contenders: list[Contender], options: Namespace) -> None:
    found = {one.name: _figures(one) for one in contenders}
    columns = [""]
    for one in contenders:
        columns += [f"{one.name}: true", "billed", "off"]
    rows: list[list[Cell]] = []
    for kind in [*KINDS, "all"]:
        row: list[Cell] = [kind]
        for figures in found.values():
            sums = figures if kind == "all" else figures["kinds"][kind]
            true, billed = sums["true_nanos"] / 1000, sums["billed_nanos"] / 1000
            row += [f"{true:,.0f}", f"{billed:,.0f}", f"{billed / true - 1:+.1%}"]
        rows.append(row)
    table("Bills, in millionths of a dollar", columns, rows)
    finish("bills", options, found.pop("liveweights"), found)


def _figures(one: Contender) -> dict[str, Any]:
    kinds = {kind: {"true_nanos": 0, "billed_nanos": 0, "unbilled": 0} for kind in KINDS}
    for number, case in enumerate(one.upstream.cases):
        sums = kinds[case.kind]
        true, billed = one.true(number), one.billed.get(number, 0)
        sums["true_nanos"] += true
        sums["billed_nanos"] += billed
        sums["unbilled"] += bool(true and not billed)
    totals = {name: sum(sums[name] for sums in kinds.values()) for name in kinds["whole"]}
    return {"requests": one.asked, **totals, "kinds": kinds}


if __name__ == "__main__":
    main()
