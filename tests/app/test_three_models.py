"""Three models in one process, asked by the official client: two of ours that are promoted again
and again, and a hosted one that a second instance of ours runs."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
import torch
from tests.engines.reference import make_adapter, read, read_adapted
from tests.learn.families import make_config, write_family
from tests.serve.api.doubles import TEMPLATE, MemoryRecorder, make_api
from tests.serve.api.servers import answering, make_server
from transformers import AutoTokenizer

from liveweights.app.lineup import Lineup
from liveweights.app.place import Place
from liveweights.app.terms import Lookout, make_terms
from liveweights.catalog.card import read_card
from liveweights.config import Config
from liveweights.release import moves
from liveweights.release.standing import stand
from liveweights.serve.api.app import create_app
from liveweights.store.database import Pool, open_pool
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import content_id, hash_files
from liveweights.weights.models import find
from liveweights.weights.probes import FILE, Probe, Probes
from liveweights.weights.registry import CARD, register
from liveweights.weights.upcycle import upcycle

pytestmark = [pytest.mark.alone, pytest.mark.timeout(180)]
ENGINE = {"kind": "torch", "context_length": 2048, "threads": 1, "slots": 4}
PROMOTIONS = 10
NAMES = ("code", "chat", "far")
HI: Any = [{"role": "user", "content": "hi"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"in": {"enum": ["a", "b"]}},
            "required": ["in"],
            "additionalProperties": False,
        },
    },
}


def make_base(family: str, folder: Path) -> Path:
    """A random model that reads prompts of a few hundred bytes, and has chats."""
    config = make_config(family)
    config.max_position_embeddings = 2048
    write_family(config, folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


@torch.inference_mode()
def make_probes(base: Checkpoint, adapter: Checkpoint) -> Probes:
    """What Transformers computes for the base without and with the adapter."""
    models = read_adapted(base.folder, adapter.folder), read(base.folder)
    probes: list[Probe] = []
    for first in range(10):
        prompt = [first + 1, 40, 2 * first + 60]
        ours, bases = (
            torch.log_softmax(model(torch.tensor([prompt])).logits[0, -1].float(), -1)
            for model in models
        )
        ids: list[int] = ours.topk(8).indices.tolist()
        probes.append(Probe(prompt, [(id, float(ours[id]), float(bases[id])) for id in ids]))
    return Probes(probes)


def make_checkpoint(base: Checkpoint, folder: Path, number: int) -> Checkpoint:
    """An adapter with all that a deployer looks at, another one for each number."""
    made = make_adapter(
        base, folder, std=0.1 + 0.01 * number, target_modules=["q_proj", "v_proj", "o_proj"]
    )
    (folder / FILE).write_bytes(msgspec.json.encode(make_probes(base, made)))
    files = hash_files(folder)
    (folder / CARD).write_text(json.dumps({"files": files}))
    return replace(made, id=f"{base.name}@{content_id(files, base.id)}")


class Stage:
    """The lineup with its API at ``url``, and the bases of its models of ours."""

    def __init__(self, url: str, lineup: Lineup, pool: Pool, bases: dict[str, Checkpoint]) -> None:
        self.url, self.lineup, self.pool, self.bases = url, lineup, pool, bases
        self.recorder = MemoryRecorder()

    def live(self, name: str) -> str | None:
        routes = self.lineup.models.routes()
        return next((route.live for route in routes if route.name == name), None)

    async def serves(self, name: str, checkpoint: str) -> None:
        async with asyncio.timeout(60):
            while self.live(name) != checkpoint or not self.lineup.models.can_answer(name):
                await asyncio.sleep(0.01)

    async def promote(self, name: str, checkpoint: Checkpoint) -> None:
        async with self.pool.connection() as conn:
            await register(conn, checkpoint)
            await moves.promote(conn, name, checkpoint.id, reason="test")
        await self.serves(name, checkpoint.id)


@asynccontextmanager
async def staged(dsn: str, folder: Path) -> AsyncGenerator[Stage]:
    dense = make_base("mistral", folder / "dense")
    upcycle(dense, folder / "mixture", experts=2, top_k=1)
    tables: dict[str, Any] = {
        "code": {"base": str(make_base("qwen3", folder / "qwen3"))},
        "chat": {"base": str(folder / "mixture")},
    }
    async with AsyncExitStack() as stack:
        second = make_api("<tool_call>\n" + json.dumps({"name": "get", "arguments": {"in": "a"}})
                          + "\n</tool_call>", context_length=4096)  # fmt: skip
        upstream = await stack.enter_async_context(answering(make_server(second.app)))
        tables["far"] = {"upstream": upstream, "upstream_model": "tiny"}
        raw = {"cache": str(folder / "cache"), "engine": ENGINE, "models": tables}
        config = msgspec.convert(raw, Config)
        pool = await open_pool(dsn)
        stack.push_async_callback(pool.close)
        bases: dict[str, Checkpoint] = {}
        for model in config.list_models():
            base = bases[model.alias] = find(model.base, config.cache_folder())
            card = read_card(base, config.cache_folder())
            async with pool.connection() as conn:
                await stand(conn, model.alias, base, card, model=model.base)
        lookout = Lookout(pool, make_terms(config, {}))
        place = Place(config, folder, dsn)
        lineup = await stack.enter_async_context(
            Lineup(pool, place, instance="here", bases=list(bases.values()), lookout=lookout)
        )
        stage = Stage("", lineup, pool, bases)
        app = create_app(lineup.models, stage.recorder, hosted=lineup.hosted, terms=lookout.terms)
        stage.url = await stack.enter_async_context(answering(make_server(app)))
        for name, base in bases.items():
            await stage.serves(name, base.id)
        yield stage


async def complete(client: openai.AsyncOpenAI, name: str) -> str:
    answer = await client.completions.create(model=name, prompt="x = f(", max_tokens=3)
    assert answer.choices[0].finish_reason
    return answer.model


async def complete_streamed(client: openai.AsyncOpenAI, name: str) -> str:
    stream = await client.completions.create(model=name, prompt="y = ", max_tokens=3, stream=True)
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices[0].finish_reason
    return chunks[-1].model


async def chat(client: openai.AsyncOpenAI, name: str) -> str:
    answer = await client.chat.completions.create(model=name, messages=HI, max_tokens=3)
    assert answer.choices[0].message.role == "assistant"
    return answer.model


async def chat_streamed(client: openai.AsyncOpenAI, name: str) -> str:
    stream = await client.chat.completions.create(
        model=name, messages=HI, max_tokens=3, stream=True
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].choices[0].finish_reason
    return chunks[-1].model


async def call_a_tool(client: openai.AsyncOpenAI, name: str) -> str:
    """A random model calls, too, where it has to."""
    answer = await client.chat.completions.create(
        model=name, messages=HI, tools=[TOOL], tool_choice="required", max_tokens=400,
        parallel_tool_calls=False,
    )  # fmt: skip
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls or ()
    assert call.type == "function"
    assert json.loads(call.function.arguments)["in"] in ("a", "b")
    return answer.model


WAYS: tuple[Callable[[openai.AsyncOpenAI, str], Awaitable[str]], ...] = (
    complete, complete_streamed, chat, chat_streamed, call_a_tool,
)  # fmt: skip


def test_ten_promotions_of_each_of_two_models_fail_no_request_of_any(
    database_dsn: str, tmp_path: Path
) -> None:
    asked = Counter[tuple[str, str]]()

    async def keep_asking(client: openai.AsyncOpenAI, name: str, first: int) -> None:
        number = first
        while True:
            way = WAYS[number % len(WAYS)]
            # A hosted model is called by the name that it has here, and answers with its own.
            assert await way(client, name) == {"far": "tiny"}.get(name, name)
            asked[name, way.__name__] += 1
            number += 1

    def check(users: list[asyncio.Task[None]]) -> None:
        for user in users:
            if user.done():
                user.result()  # raises what went wrong

    async def go() -> None:
        async with (
            staged(database_dsn, tmp_path) as stage,
            openai.AsyncOpenAI(
                base_url=stage.url, api_key="any", max_retries=0, timeout=60
            ) as client,
        ):
            users = [
                asyncio.create_task(keep_asking(client, name, first))
                for name in NAMES
                for first in (0, 2)
            ]
            for number in range(PROMOTIONS):
                for name, base in stage.bases.items():
                    folder = tmp_path / f"{name}-{number}"
                    made = await asyncio.to_thread(make_checkpoint, base, folder, number)
                    await stage.promote(name, made)
                    check(users)
            async with asyncio.timeout(60):
                while len(asked) < len(NAMES) * len(WAYS):
                    check(users)
                    await asyncio.sleep(0.05)
            for user in users:
                user.cancel()
            await asyncio.gather(*users, return_exceptions=True)
            answered = {
                name: {r.checkpoint for r in stage.recorder.generations.values() if r.alias == name}
                for name in NAMES
            }
            for name in stage.bases:
                assert len(answered[name]) > PROMOTIONS // 2
            assert len(answered["far"]) == 1

    asyncio.run(go())
