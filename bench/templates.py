"""What it costs to render chat templates in a process of their own: chats, with and without.

The same API over the same llama.cpp answers the same chats in turn, once with the template where it
is in the product, once with Transformers' own rendering in the API's process. Nothing is recorded.

Ends with status 1 if chats take longer by more than 3% in the median.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from statistics import median
from typing import Any

import msgspec
from starlette.types import ASGIApp, Message

from _report import arguments, finish, table
from liveweights.catalog.template import ChatTemplate
from liveweights.config import Config
from liveweights.engines.llama.engine import LlamaEngine
from liveweights.engines.settings import EngineSettings
from liveweights.record.backlog import Backlog
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.serve.api.app import create_app
from liveweights.serve.api.recorder import Recorder
from liveweights.serve.models import Models, make_model
from liveweights.serve.router import Router
from liveweights.weights.models import find, load_tokenizer

WORSE = 1.03
ASKED: dict[str, Any] = {"model": "code", "temperature": 0, "max_tokens": 16}
TURNS = {"one message": 1, "a conversation of 21 messages": 21}


class InProcess:
    """Rendered in the API's process, by Transformers."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    async def render(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        variables: Mapping[str, Any] | None = None,
        /,
    ) -> str:
        return self._tokenizer.apply_chat_template(
            messages, tools=tools, tokenize=False, add_generation_prompt=True, **(variables or {})
        )


class NoRecord:
    backlog = Backlog()

    async def add_generation(self, generation: Generation, /) -> None:
        pass

    async def add_feedback(self, feedback: Feedback, /) -> bool:
        return True

    async def steps(self, tenant: str, name: str, /, *, session: bool) -> list[str]:
        return []


def messages(count: int) -> list[dict[str, str]]:
    """Of user and assistant in turn."""
    text = "The mean of a list of numbers is their sum divided by how many there are. "
    return [
        {"role": ("user", "assistant")[number % 2], "content": f"{number}. {text}"}
        for number in range(count)
    ]


async def chat(app: ASGIApp, count: int) -> float:
    """Seconds that an answer takes."""
    body = msgspec.json.encode({**ASKED, "messages": messages(count)})
    path = "/v1/chat/completions"
    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": [(b"content-type", b"application/json")],
    }  # fmt: skip
    sent: list[Message] = []
    asked = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if asked:
            return asked.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    began = time.perf_counter()
    await app(scope, receive, send)
    took = time.perf_counter() - began
    if sent[0]["status"] != 200:
        raise RuntimeError(f"{sent[0]['status']}: {sent[1]['body'][:500]!r}")
    return took


async def compare(rounds: int) -> dict[str, dict[str, float]]:
    config = Config()
    base = await asyncio.to_thread(find, config.model, config.cache_folder())
    tokenizer: Any = load_tokenizer(base)
    settings = EngineSettings(context_length=2048, slots=1)
    engine = LlamaEngine(base, config.cache_folder(), settings)
    template = ChatTemplate(tokenizer)
    record: Recorder = NoRecord()
    router = Router()
    try:
        await engine.load(base)
        await template.start()
        router.set("code", base.id)
        ours, theirs = (
            create_app(Models(make_model(engine, router, tokenizer, template=renderer)), record)
            for renderer in (template, InProcess(tokenizer))
        )
        found: dict[str, dict[str, float]] = {}
        for name, count in TURNS.items():
            for app in (ours, theirs):
                await chat(app, count)
            apart: list[float] = []
            inside: list[float] = []
            for number in range(rounds):
                pair = [(ours, apart), (theirs, inside)]
                for app, times in pair if number % 2 else reversed(pair):
                    times.append(await chat(app, count))
            found[name] = {
                "apart_ms": 1000 * median(apart),
                "inside_ms": 1000 * median(inside),
                "ratio": median(a / b for a, b in zip(apart, inside, strict=True)),
            }
        return found
    finally:
        await template.close()
        await engine.close()


def main() -> None:
    options = arguments(__doc__ or "", rounds=(200, "chats of each kind, each way"))
    found = asyncio.run(compare(10 if options.quick else options.rounds))
    table(
        "A chat of 16 tokens, median",
        ("kind", "template apart, ms", "inside, ms", "times"),
        [[name, *values.values()] for name, values in found.items()],
    )
    finish("templates", options, found, {})
    if not options.quick and any(values["ratio"] > WORSE for values in found.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
