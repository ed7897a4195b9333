"""What an answer says that it used is what the rollups count: a prompt once, however many choices
it has."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import psycopg

from liveweights.record.writer import Writer
from liveweights.serve.api.app import create_app
from liveweights.serve.models import Models, make_model
from liveweights.serve.router import Router
from liveweights.store.database import open_pool

from .doubles import (
    BASE,
    Answer,
    Api,
    MemoryRecorder,
    ScriptedEngine,
    TemplateHere,
    make_tokenizer,
)

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
ASKED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/completions", {"model": "tiny", "prompt": "say:", "n": 3}),
    ("/v1/completions", {"model": "tiny", "prompt": ["a ", "bc", [72, 105]], "n": 2}),
    ("/v1/chat/completions", CHAT | {"n": 4}),
    ("/v1/chat/completions", CHAT | {"n": 2, "stream": True, "max_tokens": 3}),
    ("/v1/chat/completions", CHAT),
    ("/v1/responses", {"model": "tiny", "input": "hi", "store": False}),
]


def used(answer: Answer, *, stream: bool) -> tuple[int, int]:
    usage = answer.events()[-1]["usage"] if stream else answer.json()["usage"]
    prompt = usage.get("prompt_tokens", usage.get("input_tokens"))
    return prompt, usage.get("completion_tokens", usage.get("output_tokens"))


def ask_all(dsn: str) -> list[tuple[int, int]]:
    async def main() -> list[tuple[int, int]]:
        tokenizer, router = make_tokenizer(), Router()
        engine = ScriptedEngine(tokenizer)
        router.set("tiny", BASE)
        pool = await open_pool(dsn)
        found: list[tuple[int, int]] = []
        async with Writer(pool) as writer:
            model = make_model(engine, router, tokenizer, template=TemplateHere(tokenizer))
            app = create_app(Models(model), writer)
            api = Api(engine, MemoryRecorder(), router, app)
            for path, body in ASKED:
                stream = bool(body.get("stream"))
                more = {"stream_options": {"include_usage": True}} if stream else {}
                answer = await api.acall("POST", path, body | more)
                assert answer.status == 200, answer.body
                found.append(used(answer, stream=stream))
        await pool.close()
        return found

    return asyncio.run(main())


def sums(dsn: str, query: str) -> Sequence[Any]:
    with psycopg.connect(dsn) as conn:
        row = conn.execute(query.encode()).fetchone()
        assert row is not None
        return row


def test_the_rollups_count_a_prompt_once_for_all_its_choices(database_dsn: str) -> None:
    said = ask_all(database_dsn)
    prompts, outputs = (sum(column) for column in zip(*said, strict=True))
    for whole in ("true", "false"):
        for width in (5, 60, 1440):
            counted = sums(
                database_dsn,
                "select sum(generations)::int, sum(prompt_tokens)::int, sum(output_tokens)::int"
                f" from rollups where whole = {whole} and width = {width}",
            )
            choices = sum(
                body.get("n", 1) * (len(body["prompt"]) if isinstance(body.get("prompt"), list)
                                    else 1)
                for _, body in ASKED
            )  # fmt: skip
            assert counted == (choices, prompts, outputs)
