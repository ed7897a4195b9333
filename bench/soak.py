"""Half an hour of everything at once: does it stay whole?

Users complete, chat, call tools, ask for JSON, hold conversations, leave in the middle, send what
makes no sense, and react; checkpoints are promoted all the while. Afterwards the database is asked
for every answer that a user saw. Ends with status 1 if there was a server error, an answer that
is not recorded, or memory that grows.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psycopg

from _release import make_live
from _report import arguments, finish, table
from liveweights.config import Config
from liveweights.replay.client import Client
from liveweights.replay.service import Service, free_port, write_config
from liveweights.store.database import open_pool
from liveweights.store.embedded import EmbeddedPostgres
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import find
from swap import PROMPTS, make_checkpoints

GROWTH = 1.10
"""Memory is flat if the last quarter's median is at most this times the second quarter's."""
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "size": {"enum": [1, 2, 3]}},
    "required": ["name", "size"],
    "additionalProperties": False,
}
TOOL = {"name": "look_up", "parameters": SCHEMA}
NONSENSE: list[tuple[str, Any]] = [
    ("/v1/completions", b"{"),
    ("/v1/completions", b'{"model": "code", "prompt": "\xff"}'),
    ("/v1/completions", {"model": "code", "prompt": ""}),
    ("/v1/completions", {"model": "code", "prompt": "x " * 4000}),
    ("/v1/completions", {"model": "none", "prompt": "a"}),
    ("/v1/completions", {"model": "code", "prompt": "a", "unheard_of": 1}),
    ("/v1/chat/completions", {"model": "code", "messages": []}),
    ("/v1/chat/completions", {"model": "code", "messages": [{"role": "user"}]}),
    ("/v1/responses", {"model": "code", "input": "a", "previous_response_id": "resp_none"}),
    ("/v1/embeddings", {"model": "code", "input": "a"}),
    ("/v1/feedback", {"generation": "gen_none", "signal": "accepted"}),
    ("/v1/completions", b"x" * 3_000_000),
]


@dataclass
class Seen:
    """What the users saw."""

    requests: Counter[str] = field(default_factory=Counter[str])
    statuses: Counter[int] = field(default_factory=Counter[int])
    answers: set[str] = field(default_factory=set[str])
    checkpoints: set[str] = field(default_factory=set[str])
    broken: list[str] = field(default_factory=list[str])
    """Requests that ended in neither an answer nor an error of ours."""


JSON = {"content-type": "application/json"}


class User:
    """Does one thing after the other, drawn with a seed."""

    def __init__(self, session: aiohttp.ClientSession, seen: Seen, number: int) -> None:
        self._session, self._seen, self._number = session, seen, number
        self._random = random.Random(number)
        self._previous: str | None = None

    async def run(self) -> None:
        ways: list[Callable[[], Awaitable[None]]] = [
            *[self.complete] * 4,
            *[self.stream] * 5,
            *[self.leave] * 3,
            *[self.nonsense] * 4,
            self.chat,
            self.several,
            self.call_tool,
            self.answer_json,
            self.converse,
        ]
        while True:
            way = self._random.choice(ways)
            self._seen.requests[way.__name__] += 1
            try:
                await way()
            except (aiohttp.ClientError, TimeoutError, ValueError, KeyError) as error:
                self._seen.broken.append(f"{way.__name__}: {error!r}"[:300])
                await asyncio.sleep(0.2)

    async def complete(self) -> None:
        body = await self._ask("/v1/completions", self._completion())
        if body is not None and self._random.random() < 0.7:
            signal = self._random.choice(["accepted", "rejected", "shown"])
            await self._ask("/v1/feedback", {"generation": body["id"], "signal": signal})

    async def stream(self) -> None:
        await self._stream(leave_after=None)

    async def leave(self) -> None:
        await self._stream(leave_after=self._random.randint(1, 6))

    async def nonsense(self) -> None:
        path, body = self._random.choice(NONSENSE)
        await self._ask(path, body)

    async def chat(self) -> None:
        await self._ask("/v1/chat/completions", self._chat(seed=1, temperature=0))

    async def several(self) -> None:
        await self._ask("/v1/chat/completions", self._chat(n=2, logprobs=True, top_logprobs=2))

    async def call_tool(self) -> None:
        tools = [{"type": "function", "function": TOOL}]
        await self._ask(
            "/v1/chat/completions", self._chat(tools=tools, tool_choice="required", max_tokens=48)
        )

    async def answer_json(self) -> None:
        format = {"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA}}
        await self._ask("/v1/chat/completions", self._chat(response_format=format, max_tokens=32))

    async def converse(self) -> None:
        body: dict[str, Any] = {"model": "code", "input": "And then?", "max_output_tokens": 12}
        # A new conversation now and then, before the context is full.
        if self._previous and self._random.random() < 0.7:
            body["previous_response_id"] = self._previous
        answer = await self._ask("/v1/responses", body)
        self._previous = answer["id"] if answer else None

    def _completion(self) -> dict[str, Any]:
        prompt = f"# {self._random.randint(0, 50)}\n{self._random.choice(PROMPTS)}"
        user = f"user-{self._number}"
        return {"model": "code", "prompt": prompt, "max_tokens": 24, "user": user}

    def _chat(self, **more: Any) -> dict[str, Any]:
        question = f"Say something about {self._random.choice(['Rome', 'ants', 'tea'])}."
        messages = [{"role": "user", "content": question}]
        return {"model": "code", "messages": messages, "max_tokens": 16} | more

    async def _ask(self, path: str, body: Any) -> Any:
        """The answer; None for an error, which is counted."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        async with self._session.post(path, data=data, headers=JSON) as response:
            self._seen.statuses[response.status] += 1
            read = msgspec.json.decode(await response.read())
            if response.status >= 400:
                _ = read["error"]["message"]
                return None
            self._note(response)
            return read

    async def _stream(self, leave_after: int | None) -> None:
        body = self._completion() | {"stream": True}
        async with self._session.post("/v1/completions", json=body) as response:
            self._seen.statuses[response.status] += 1
            if response.status != 200:
                return
            count = 0
            async for line in response.content:
                if not line.startswith(b"data: "):
                    continue
                if line.startswith(b"data: [DONE]"):
                    self._note(response)
                    return
                event = msgspec.json.decode(line[6:])
                if "error" in event:
                    raise ValueError(event["error"]["message"])
                count += 1
                if count == leave_after:
                    self._note(response)
                    response.close()
                    return
            raise ValueError("the stream broke off")

    def _note(self, response: aiohttp.ClientResponse) -> None:
        if "x-generation-id" in response.headers:
            self._seen.answers.update(response.headers["x-generation-id"].split(", "))
            self._seen.checkpoints.add(response.headers["x-checkpoint"])


async def promote(dsn: str, made: Sequence[Checkpoint], every: float) -> int:
    """Promote one after the other, ``every`` seconds; how many were."""
    pool = await open_pool(dsn)
    try:
        for number, checkpoint in enumerate(made):
            await asyncio.sleep(every)
            await make_live(pool, checkpoint, "bench/soak.py", look=0.2)
            print(f"promotion {number + 1} of {len(made)}", flush=True)
    finally:
        await pool.close()
    return len(made)


def api_memory(supervisor: int) -> float:
    """Resident memory of the API's process in MiB; 0 while it is starting."""
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            command = (place / "cmdline").read_bytes().split(b"\0")
            if parent == supervisor and b"liveweights.app" in command and b"api" in command:
                pages = int((place / "statm").read_text().split()[1])
                return pages * 4096 / 2**20
    return 0.0


async def watch(service: Service, samples: list[float]) -> None:
    while True:
        samples.append(await asyncio.to_thread(api_memory, service.pid))
        await asyncio.sleep(2)


def quarters(samples: Sequence[float]) -> tuple[float, float]:
    """Medians of the second and of the last quarter."""
    size = max(1, len(samples) // 4)
    second, last = samples[size : 2 * size] or samples, samples[-size:]
    return statistics.median(second), statistics.median(last)


def missing(dsn: str, answers: set[str]) -> set[str]:
    """Answers that the record does not have; rows on their way get a moment."""
    left = set(answers)
    with psycopg.connect(dsn) as conn:
        for _ in range(20):
            rows = conn.execute("select id from generations where id = any(%s)", (list(left),))
            left -= {id for (id,) in rows.fetchall()}
            conn.rollback()
            if not left:
                break
            time.sleep(0.5)
    return left


async def soak(
    folder: Path, made: Sequence[Checkpoint], users: int, seconds: float, every: float
) -> tuple[Seen, list[float], int, set[str]]:
    config = folder / "soak.toml"
    engine = {"kind": "llama", "slots": 4, "context_length": 512, "threads": 1}
    write_config(config, {"engine": engine, "api": {"max_running": users, "max_waiting": users}})
    service = Service(folder / "home", config, free_port(), folder / "service.log")
    seen, samples, promoted = Seen(), [], 0
    try:
        async with Client(service.url) as client:
            await service.wait(client, 240)
        dsn = EmbeddedPostgres(folder / "home" / "postgres").start()
        timeout = aiohttp.ClientTimeout(total=300)
        async with aiohttp.ClientSession(service.url, timeout=timeout) as session:
            tasks = [asyncio.create_task(User(session, seen, n).run()) for n in range(users)]
            tasks.append(asyncio.create_task(watch(service, samples)))
            began = time.monotonic()
            promoted = await promote(dsn, made, every)
            await asyncio.sleep(max(0.0, seconds - (time.monotonic() - began)))
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            for error in ended:
                if not isinstance(error, asyncio.CancelledError):
                    seen.broken.append(f"a user ended: {error!r}"[:300])
        left = await asyncio.to_thread(missing, dsn, seen.answers)
    except BaseException:
        print(service.log.read_text(errors="replace")[-3000:])
        raise
    finally:
        service.stop()
    return seen, samples, promoted, left


def main() -> None:
    options = arguments(
        __doc__ or "",
        minutes=(30.0, "how long"),
        users=(6, "users at the same time"),
        every=(60.0, "seconds between two promotions"),
    )
    minutes = 1.5 if options.quick else options.minutes
    every = 20.0 if options.quick else options.every
    count = max(1, int(minutes * 60 / every) - 1)
    folder = Path(tempfile.mkdtemp(prefix="liveweights-soak-"))
    try:
        base = find(Config().model, Config().cache_folder())
        made = make_checkpoints(base, folder, count)
        seen, samples, promoted, left = asyncio.run(
            soak(folder, made, options.users, 60 * minutes, every)
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    second, last = quarters(samples)
    growth = last / max(1.0, second)
    errors = sum(count for status, count in seen.statuses.items() if status >= 500)
    figures: dict[str, Any] = {
        "minutes": minutes,
        "requests": sum(seen.requests.values()),
        "statuses": {str(k): v for k, v in sorted(seen.statuses.items())},
        "server_errors": errors,
        "broken": len(seen.broken),
        "left_in_the_middle": seen.requests["leave"],
        "promotions": promoted,
        "checkpoints_seen": len(seen.checkpoints),
        "answers": len(seen.answers),
        "answers_not_recorded": len(left),
        "api_mib": {"second_quarter": second, "last": last},
        "api_growth": growth,
    }
    table("What the users did", ["way", "requests"], [[k, v] for k, v in seen.requests.items()])
    shown = [[name, str(value)] for name, value in figures.items()]
    table("What they saw", ["figure", "value"], shown)
    for line in seen.broken[:5]:
        print(line)
    finish("soak", options, figures, {})
    if errors or seen.broken or left or (growth > GROWTH and not options.quick):
        sys.exit(1)


if __name__ == "__main__":
    main()
