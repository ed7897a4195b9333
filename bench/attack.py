"""Half an hour of hostile traffic from three tenants beside one honest one: what does he notice?

The honest tenant completes, reacts and reads his figures, first alone and then beside three others
who send what is too long, too deep, broken or slow: huge prompts and headers, templates and schemas
that explode, floods of feedback and huge corrections, wrong keys, paths outside, connections that
never say anything. The three have the limits that an operator would give them.

Ends with status 1 if the honest tenant's p99 is more than 3 times that of alone, if a row that was
acknowledged is lost, if there was a server error, if the API's memory grows, or if the record was
ever more than 10 s behind.
"""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import psycopg

from _report import arguments, finish, table
from liveweights.replay.client import Client
from liveweights.replay.service import Service, free_port, write_config
from liveweights.store.embedded import EmbeddedPostgres
from soak import GROWTH, api_memory, missing, quarters

WORSE = 3.0
FEW = 20
"""Of fewer requests alone no p99 is compared."""
BEHIND = 10.0
"""Seconds that the record may be behind at most."""
HONEST = "honest-0123456789abcdef"
HOSTILE = [f"hostile-{number}-0123456789abcdef" for number in range(3)]
LIMITS = {"requests_per_minute": 240, "tokens_per_minute": 20_000, "concurrency": 2}
_BACKLOG = re.compile(rb"^liveweights_record_backlog_seconds (\S+)", re.MULTILINE)


@dataclass
class Seen:
    """What one tenant saw: seconds of each kind of request, statuses, and what was acknowledged."""

    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    statuses: Counter[int] = field(default_factory=Counter[int])
    answers: set[str] = field(default_factory=set[str])
    feedback: set[str] = field(default_factory=set[str])
    broken: list[str] = field(default_factory=list[str])

    def p99(self, kind: str) -> float:
        ordered = sorted(self.seconds.get(kind, [0.0]))
        return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]


class Caller:
    """A tenant with a key; ``ask`` notes what came of each request."""

    def __init__(self, session: aiohttp.ClientSession, key: str, seen: Seen) -> None:
        self._session = session
        self._headers = {"authorization": f"Bearer {key}"}
        self.seen = seen

    async def ask(
        self, kind: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and what was read of the answer, None where it is not JSON."""
        data = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
        sent = {**self._headers, **({"content-type": "application/json"} if data else {})}
        began = time.perf_counter()
        method = "GET" if data is None else "POST"
        async with self._session.request(
            method, path, data=data, headers=sent | (headers or {})
        ) as response:
            raw = await response.read()
        self.seen.seconds.setdefault(kind, []).append(time.perf_counter() - began)
        self.seen.statuses[response.status] += 1
        with suppress(msgspec.DecodeError):
            return response.status, msgspec.json.decode(raw)
        return response.status, None

    async def complete(self, kind: str, **more: Any) -> str | None:
        """The generation's id."""
        body = {"model": "code", "prompt": "def area(width, height):\n    return", "max_tokens": 12}
        status, answer = await self.ask(kind, "/v1/completions", body | more)
        if status != 200:
            return None
        self.seen.answers.add(answer["id"])
        return answer["id"]

    async def react(self, kind: str, generation: str, number: str, **more: Any) -> None:
        body = {"generation": generation, "id": number, "signal": "accepted"} | more
        status, _ = await self.ask(kind, "/v1/feedback", body)
        if status < 300:
            self.seen.feedback.add(number)


async def work(caller: Caller, until: float) -> None:
    """The honest tenant: a suggestion, a reaction, now and then a look at his figures."""
    draw = random.Random(1)
    number = 0
    while time.monotonic() < until:
        number += 1
        prompt = f"# {draw.randint(0, 40)}\ndef mean(values):\n    return sum(values) /"
        if id := await caller.complete("completion", prompt=prompt, user=f"u{number % 9}"):
            await caller.react("feedback", id, f"honest-{time.time_ns()}")
        if number % 3 == 0:
            await caller.ask("insight", "/insight/usage")
        await asyncio.sleep(draw.uniform(0.1, 0.5))


class Attacker:
    """Does one hostile thing after the other, drawn with a seed."""

    def __init__(self, caller: Caller, url: str, number: int) -> None:
        self._caller = caller
        self._host, self._port = urlsplit(url).hostname or "", urlsplit(url).port or 0
        self._draw = random.Random(number)
        self._number = number
        self._generation = "gen_none"

    async def run(self, until: float) -> None:
        ways: list[Callable[[], Awaitable[Any]]] = [
            self.long_fields, self.huge_prompts, self.huge_correction, self.shown_flood,
            self.headers, self.idle, self.slow_body, self.schema, self.grammar, self.deep,
            self.template, self.wrong_keys, self.paths, self.dates, self.nul, self.numbers,
            self.answers, self.lone,
        ]  # fmt: skip
        while time.monotonic() < until:
            # Cut off, as it should be: what counts is what the honest tenant sees.
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                await self._draw.choice(ways)()
            await asyncio.sleep(self._draw.uniform(0.05, 0.3))

    def _text(self, size: int) -> str:
        return "".join(self._draw.choices("abcdefghijklmnopqrstuvwxyz ()", k=1000)) * (size // 1000)

    async def answers(self) -> None:
        self._generation = await self._caller.complete("answer") or self._generation

    async def long_fields(self) -> None:
        for more in ({"user": self._text(6000)}, {"metadata": {"session": self._text(9000)}}):
            await self._caller.complete("long", **more)

    async def huge_prompts(self) -> None:
        prompt = self._text(1_900_000)
        await asyncio.gather(*(self._caller.complete("huge", prompt=prompt) for _ in range(4)))

    async def huge_correction(self) -> None:
        """The longest that is taken, and longer."""
        for size in (262_000, 900_000):
            text = self._text(size)
            for signal in ("correction", "edited"):
                await self._caller.react(
                    "edit", self._generation, f"e{time.time_ns()}", signal=signal, text=text
                )

    async def shown_flood(self) -> None:
        """As many at once as are taken, several times, and more."""
        await asyncio.gather(*(self._flood(count) for count in (100, 100, 100, 100, 500)))

    async def _flood(self, count: int) -> None:
        items = [
            {"generation": self._generation, "id": f"s{time.time_ns()}-{n}", "signal": "shown"}
            for n in range(count)
        ]
        _, answer = await self._caller.ask("flood", "/v1/feedback", {"feedback": items})
        told = answer.get("data", ()) if isinstance(answer, dict) else ()
        self._caller.seen.feedback.update(item["id"] for item in told if item["status"] < 300)

    async def headers(self) -> None:
        many = {f"x-{n}": "h" * 7000 for n in range(120)}
        await self._caller.ask("headers", "/v1/models", headers=many)

    async def idle(self) -> None:
        opened = [await asyncio.open_connection(self._host, self._port) for _ in range(20)]
        await asyncio.sleep(1)
        for _, writer in opened:
            writer.close()

    async def slow_body(self) -> None:
        _, writer = await asyncio.open_connection(self._host, self._port)
        writer.write(
            b"POST /v1/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 100000\r\n\r\n"
        )
        for _ in range(5):
            writer.write(b"{")
            await asyncio.sleep(0.5)
        writer.close()

    async def schema(self) -> None:
        enum = [f"{n}-{self._text(1000)}" for n in range(900)]
        format = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": enum}}}
        await self._chat("schema", response_format=format)

    async def grammar(self) -> None:
        schema = {"type": "string", "pattern": "(a{1,900}b{1,900}){1,900}"}
        format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        await self._chat("grammar", response_format=format)

    async def deep(self) -> None:
        depth = 100_000
        await self._caller.ask("deep", "/v1/completions", b"[" * depth + b"]" * depth)
        body = (
            b'{"model": "code", "prompt": "a", "metadata": ' + b'{"a": ' * 5000 + b"1" + b"}" * 5001
        )
        await self._caller.ask("deep", "/v1/completions", body)

    async def template(self) -> None:
        body = "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}"
        await self._chat("template", chat_template=body)
        await self._chat("template", messages=[{"role": "user", "content": body}] * 400)

    async def _chat(self, kind: str, **more: Any) -> None:
        messages = [{"role": "user", "content": "Hello"}]
        body = {"model": "code", "messages": messages, "max_tokens": 8} | more
        await self._caller.ask(kind, "/v1/chat/completions", body)

    async def wrong_keys(self) -> None:
        for n in range(5):
            wrong = {"authorization": f"Bearer wrong-{n}-{self._draw.random()}"}
            await self._caller.ask("wrong key", "/v1/models", headers=wrong)

    async def paths(self) -> None:
        for path in (
            "/releases/x%00", "/v1/%2e%2e/status", "/insight/..%2fusage", "/v1/files/f",
            "/v1/responses/resp_none", "/v1/generations/gen_none", "/admin",
        ):  # fmt: skip
            await self._caller.ask("path", path)

    async def dates(self) -> None:
        for query in ("since=999999w", "since=-1d", "alias=%00", "since=99999-01-01", "by=%27"):
            await self._caller.ask("dates", f"/insight/usage?{query}")

    async def nul(self) -> None:
        await self._caller.complete("nul", prompt="a\0b", user="\0")
        await self._caller.react("nul", self._generation, "\0", text="\0", signal="correction")

    async def numbers(self) -> None:
        for more in ({"seed": 2 * 10**19}, {"max_tokens": 10**12}, {"n": 10**6}, {"top_p": 1e308}):
            await self._caller.complete("numbers", **more)

    async def lone(self) -> None:
        await self._caller.ask("lone", "/v1/completions", b'{"model":"code","prompt":"\\ud800"}')


async def watch(
    service: Service, session: aiohttp.ClientSession, found: dict[str, list[float]]
) -> None:
    """The API's memory in MiB and the record's age in seconds, once a second."""
    while True:
        found["memory"].append(await asyncio.to_thread(api_memory, service.pid))
        with suppress(aiohttp.ClientError, TimeoutError):
            headers = {"authorization": f"Bearer {HONEST}"}
            async with session.get("/metrics", headers=headers) as response:
                if said := _BACKLOG.search(await response.read()):
                    found["behind"].append(float(said[1]))
        await asyncio.sleep(1)


def lost_feedback(dsn: str, ids: set[str]) -> set[str]:
    """Acknowledged reactions that the record does not have."""
    with psycopg.connect(dsn) as conn:
        rows = conn.execute("select id from feedback where id = any(%s)", (list(ids),)).fetchall()
    return ids - {id for (id,) in rows}


async def attack(
    folder: Path, alone: float, together: float
) -> tuple[Seen, Seen, Seen, dict[str, Any]]:
    config = folder / "attack.toml"
    keys = {HONEST: "honest", **{key: f"hostile-{n}" for n, key in enumerate(HOSTILE)}}
    limits = {f"hostile-{n}": LIMITS for n in range(len(HOSTILE))}
    write_config(
        config,
        {
            "engine": {"kind": "llama", "slots": 4, "context_length": 1024},
            "api": {"keys": keys, "tenant_limits": limits},
        },
    )
    service = Service(folder / "home", config, free_port(), folder / "service.log")
    before, beside, hostile = Seen(), Seen(), Seen()
    found: dict[str, Any] = {"memory": [], "behind": []}
    try:
        async with Client(service.url) as client:
            await service.wait(client, 240)
        dsn = EmbeddedPostgres(folder / "home" / "postgres").start()
        timeout = aiohttp.ClientTimeout(total=120)
        async with (
            aiohttp.ClientSession(service.url, timeout=timeout) as session,
            aiohttp.ClientSession(
                service.url, timeout=timeout, connector=aiohttp.TCPConnector(limit=0)
            ) as others,
        ):
            await work(Caller(session, HONEST, Seen()), time.monotonic() + 5)
            await work(Caller(session, HONEST, before), time.monotonic() + alone)
            watching = asyncio.create_task(watch(service, session, found))
            until = time.monotonic() + together
            attackers = [
                asyncio.create_task(
                    Attacker(Caller(others, key, hostile), service.url, number).run(until)
                )
                for number, key in enumerate(HOSTILE)
            ]
            await work(Caller(session, HONEST, beside), until)
            await asyncio.gather(*attackers)
            watching.cancel()
        answers = before.answers | beside.answers | hostile.answers
        found["lost"] = await asyncio.to_thread(missing, dsn, answers)
        said = before.feedback | beside.feedback | hostile.feedback
        found["lost"] |= await asyncio.to_thread(lost_feedback, dsn, said)
        found["acknowledged"] = len(answers) + len(said)
    except BaseException:
        print(service.log.read_text(errors="replace")[-3000:])
        raise
    finally:
        service.stop()
    return before, beside, hostile, found


def main() -> None:
    options = arguments(
        __doc__ or "",
        minutes=(30.0, "minutes of hostile traffic"),
        alone=(2.0, "minutes of the honest tenant alone before"),
    )
    minutes, alone = (1.0, 0.5) if options.quick else (options.minutes, options.alone)
    folder = Path(tempfile.mkdtemp(prefix="liveweights-attack-"))
    try:
        before, beside, hostile, found = asyncio.run(attack(folder, 60 * alone, 60 * minutes))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rows = [
        [kind, len(before.seconds[kind]), before.p99(kind), len(beside.seconds[kind]),
         beside.p99(kind), beside.p99(kind) / before.p99(kind)]
        for kind in before.seconds if kind in beside.seconds
    ]  # fmt: skip
    table("The honest tenant, seconds", ("kind", "alone", "p99", "beside", "p99", "times"), rows)
    kinds = [[k, len(v), max(v)] for k, v in sorted(hostile.seconds.items())]
    table("The hostile tenants, seconds", ("what", "requests", "longest"), kinds)
    second, last = quarters(found["memory"])
    errors = sum(
        count
        for seen in (before, beside, hostile)
        for status, count in seen.statuses.items()
        if status >= 500 and status not in (503, 529)
    )
    figures: dict[str, Any] = {
        "minutes": minutes,
        "times_alone_p99": {row[0]: row[5] for row in rows},
        "honest_statuses": {str(k): v for k, v in sorted(beside.statuses.items())},
        "hostile_statuses": {str(k): v for k, v in sorted(hostile.statuses.items())},
        "acknowledged": found["acknowledged"],
        "lost": len(found["lost"]),
        "server_errors": errors,
        "behind_seconds": max(found["behind"], default=None),
        "api_mib": {"second_quarter": second, "last": last},
        "api_growth": last / max(1.0, second),
    }
    table("What came of it", ("figure", "value"), [[k, str(v)] for k, v in figures.items()])
    finish("attack", options, figures, {})
    slow = any(row[5] > WORSE for row in rows if row[1] >= FEW)
    behind = figures["behind_seconds"] is None or figures["behind_seconds"] > BEHIND
    grows = figures["api_growth"] > GROWTH and not options.quick
    refused = sum(v for k, v in beside.statuses.items() if k >= 400)
    if slow or behind or grows or refused or errors or found["lost"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
