"""Real weights that search real documents: the official client, llama.cpp, Postgres."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from openai import AsyncOpenAI

from liveweights.agent.settings import AgentSettings
from liveweights.agent.shed import Shed
from liveweights.agent.tool import Agent
from liveweights.catalog.template import ChatTemplate
from liveweights.documents.index import add_folder
from liveweights.engines.llama.engine import LlamaEngine
from liveweights.record.conversations import ConversationStore
from liveweights.record.responses import ResponseStore
from liveweights.record.writer import Writer
from liveweights.serve.api.app import create_app
from liveweights.serve.models import Models, make_model
from liveweights.serve.router import Router
from liveweights.store.database import open_pool
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import load_tokenizer

from .servers import answering, make_server

DOCUMENTS: Any = {"type": "mcp", "server_label": "documents", "allowed_tools": ["search"]}
ASKED: Any = {"type": "mcp", "server_label": "documents", "name": "search"}


@pytest.mark.model
def test_a_model_looks_something_up_and_every_step_is_in_the_database(
    base: Checkpoint, model_cache: Path, database_dsn: str, tmp_path: Path
) -> None:
    (tmp_path / "gateway.md").write_text("# Gateway\n\nThe gateway listens on port 8731.\n")
    tokenizer: Any = load_tokenizer(base)

    async def use(client: AsyncOpenAI, writer: Writer) -> None:
        async with client.responses.stream(
            model="live",
            input="On which port does the gateway listen?",
            tools=[DOCUMENTS],
            tool_choice=ASKED,
            max_output_tokens=200,
            temperature=0,
        ) as stream:
            events = [event async for event in stream]
        kinds = [event.type for event in events]
        response: Any = getattr(events[-1], "response", None)  # it may be cut: small models loop
        assert "response.mcp_call_arguments.done" in kinds
        made = next(item for item in response.output if item.type == "mcp_call")
        assert (made.server_label, made.name) == ("documents", "search")
        assert isinstance(json.loads(made.arguments)["query"], str)
        assert made.output
        assert response.status in ("completed", "incomplete")
        assert response.usage is not None
        await writer.flush()
        check(response.id, response.usage.input_tokens, response.usage.output_tokens)
        await client.post(
            "/feedback",
            body={"episode": response.id, "signal": "reward", "value": 1.0},
            cast_to=object,
        )

    def check(episode: str, read: int, written: int) -> None:
        with psycopg.connect(database_dsn) as conn:
            rows = conn.execute(
                "select metadata ->> 'episode', cardinality(prompt_ids), cardinality(output_ids),"
                " session from generations order by created_at"
            ).fetchall()
            calls = conn.execute("select episode, failed from tool_calls").fetchall()
        assert len(rows) >= 2
        assert {name for name, *_ in rows} == {episode}
        assert len({session for *_, session in rows}) == 1
        assert (sum(row[1] for row in rows), sum(row[2] for row in rows)) == (read, written)
        assert calls[0] == (episode, False)

    async def scenario() -> None:
        engine = LlamaEngine(base, model_cache, tokenizer=tokenizer)
        template = ChatTemplate(tokenizer)
        router = Router()
        pool = await open_pool(database_dsn)
        settings = AgentSettings(steps=3)
        try:
            async with pool.connection() as conn:
                await add_folder(conn, tmp_path, name="guide")
            await engine.load(base)
            router.set("live", base.id)
            async with Writer(pool) as writer:
                app = create_app(
                    Models(make_model(engine, router, tokenizer, template=template)),
                    writer,
                    responses=ResponseStore(pool),
                    conversations=ConversationStore(pool),
                    agent=Agent(Shed(settings, pool, tmp_path), settings),
                )
                async with (
                    answering(make_server(app)) as url,
                    AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client,
                ):
                    await use(client, writer)
        finally:
            await template.close()
            await engine.close()
            await pool.close()

    asyncio.run(scenario())
