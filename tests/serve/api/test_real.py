"""The whole way in: the official client, a real server, llama.cpp, and Postgres."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
from openai import AsyncOpenAI, BadRequestError

from liveweights.catalog.template import ChatTemplate
from liveweights.engines.llama.engine import LlamaEngine
from liveweights.record.writer import Writer
from liveweights.serve.api.app import create_app
from liveweights.serve.models import Models, make_model
from liveweights.serve.router import Router
from liveweights.store.database import open_pool
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import load_tokenizer

from .doubles import MemoryRecorder
from .servers import answering, make_server

CODE = "import os\nimport sys\n\n\ndef main(argv):\n    "
QUESTION = "What is the capital of France?"


@pytest.mark.model
def test_what_the_client_gets_is_what_the_database_keeps(
    base: Checkpoint, model_cache: Path, database_dsn: str
) -> None:
    tokenizer: Any = load_tokenizer(base)

    async def use(client: AsyncOpenAI) -> None:
        completion = await client.completions.create(
            model="live",
            prompt=CODE,
            max_tokens=12,
            temperature=0.7,
            seed=1,
            stop=["\n"],
            logprobs=2,
        )
        assert completion.id.startswith("gen_")
        assert (completion.model_extra or {})["checkpoint"] == base.id
        chunks = [
            chunk
            async for chunk in await client.chat.completions.create(
                model="live",
                messages=[{"role": "user", "content": QUESTION}],
                max_tokens=20,
                temperature=0,
                stream=True,
            )
        ]
        said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert said
        for id, signal in ((completion.id, "accepted"), (chunks[0].id, "shown")):
            body = {"generation": id, "signal": signal}
            await client.post("/feedback", body=body, cast_to=object)
        check(completion, chunks[0].id, said)

    def check(completion: Any, chat: str, said: str) -> None:
        with psycopg.connect(database_dsn) as conn:
            rows = conn.execute(
                "select g.id, checkpoint, endpoint, output, healed, output_ids, logprobs, "
                "raw_logprobs, prompt_ids, f.signal "
                "from generations g join feedback f on f.generation = g.id"
            ).fetchall()
        by_id = {row[0]: row[1:] for row in rows}
        assert set(by_id) == {completion.id, chat}
        checkpoint, endpoint, output, healed, ids, logprobs, raw, _, signal = by_id[completion.id]
        assert (checkpoint, endpoint, signal) == (base.id, "completion", "accepted")
        assert output == completion.choices[0].text
        assert healed == " "
        assert len(ids) == len(logprobs) == len(raw) == completion.usage.completion_tokens
        told = completion.choices[0].logprobs.token_logprobs
        assert raw == pytest.approx(told, rel=1e-5)
        _, endpoint, output, _, ids, _, _, prompt_ids, signal = by_id[chat]
        assert (endpoint, output, signal) == ("chat", said, "shown")
        assert tokenizer.decode(ids, skip_special_tokens=True) == said
        turns = [{"role": "user", "content": QUESTION}]
        assert tokenizer.decode(prompt_ids) == tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True
        )

    async def scenario() -> None:
        engine = LlamaEngine(base, model_cache, tokenizer=tokenizer)
        template = ChatTemplate(tokenizer)
        router = Router()
        pool = await open_pool(database_dsn)
        try:
            await engine.load(base)
            router.set("live", base.id)
            async with Writer(pool) as writer:
                app = create_app(
                    Models(make_model(engine, router, tokenizer, template=template)), writer
                )
                async with (
                    answering(make_server(app)) as url,
                    AsyncOpenAI(base_url=url, api_key="any") as client,
                ):
                    await use(client)
            assert router.in_use(base.id) == 0
        finally:
            await template.close()
            await engine.close()
            await pool.close()

    asyncio.run(scenario())


LINES = r"""start: "rows" LF row{1,2}
row: NAME " = \"" NAME "\"" LF
NAME: /[a-z]{1,8}/
%import common.LF
"""


def grammar(syntax: str, definition: str) -> Any:
    format = {"type": "grammar", "grammar": {"syntax": syntax, "definition": definition}}
    return {"type": "custom", "custom": {"name": f"by_{syntax}", "format": format}}


@pytest.mark.model
def test_a_custom_tools_text_follows_its_grammar(base: Checkpoint, model_cache: Path) -> None:
    """Whatever a small model would write by itself; and what is recorded is how it was drawn."""
    tokenizer: Any = load_tokenizer(base)
    recorder = MemoryRecorder()
    messages: Any = [{"role": "user", "content": "Write rows."}]

    async def use(client: AsyncOpenAI) -> None:
        create: Any = client.chat.completions.create
        ask = {"model": "live", "messages": messages, "max_tokens": 200, "seed": 3}
        row = r'[a-z]{1,8} = "[a-z]{1,8}"\n'
        for tool, pattern in (
            (grammar("lark", LINES), rf"rows\n({row}){{1,2}}"),
            (grammar("regex", r'a\\b\t"[0-9]{3}"\n'), r'a\\b\t"[0-9]{3}"\n'),
        ):
            named = {"type": "custom", "custom": {"name": tool["custom"]["name"]}}
            answer = await create(**ask, tools=[tool], tool_choice=named)
            (call,) = answer.choices[0].message.tool_calls
            assert call.type == "custom"
            assert re.fullmatch(pattern, call.custom.input), call.custom.input
            row_of = recorder.generations[answer.id]
            assert max(row_of.raw_logprobs) <= 0
            assert 0.0 in row_of.logprobs  # where nothing else could come
        broken = grammar("lark", "start: nowhere")
        with pytest.raises(BadRequestError, match="the grammar of the tool 'by_lark' is not"):
            await create(**ask, tools=[broken])

    async def scenario() -> None:
        engine = LlamaEngine(base, model_cache, tokenizer=tokenizer)
        template = ChatTemplate(tokenizer)
        router = Router()
        try:
            await engine.load(base)
            router.set("live", base.id)
            model = make_model(engine, router, tokenizer, template=template)
            app = create_app(Models(model), recorder)
            async with (
                answering(make_server(app)) as url,
                AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client,
            ):
                await use(client)
        finally:
            await template.close()
            await engine.close()

    asyncio.run(scenario())
