"""What an answer is said to cost is what it is charged, and nobody pays for what was not sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from liveweights.agent.settings import AgentSettings
from liveweights.agent.tool import Agent
from liveweights.engines.protocol import EngineError, InvalidConstraint
from liveweights.meter.charges import assess
from liveweights.meter.keys import ANYBODY, NOBODY
from liveweights.meter.limits import Limiter
from liveweights.meter.price_book import PriceBook
from liveweights.meter.prices import EPOCH, PriceRow
from liveweights.meter.tenants import Tenant
from liveweights.record.binary import encode
from liveweights.record.generation import Generation
from liveweights.serve.api.app import create_app, make_limiter
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.models import Models, make_model
from liveweights.serve.router import Router
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.selection import Selection

from .doubles import (
    BASE,
    Answer,
    Api,
    MemoryConversations,
    MemoryRecorder,
    MemoryResponses,
    ScriptedEngine,
    TemplateHere,
    make_tokenizer,
)
from .tools_here import Functions, ToolsHere, call

PRICE = PriceRow(
    id=1, since=EPOCH, model="tiny", input=500_000, output=2_000_000, request=7, currency="EUR"
)
BOOK = PriceBook([PRICE])
UNSURE = Selection(slope=1.0, intercept=2.0)
NANOS = 10**9


RICH = Tenant(name=NOBODY, created_at=EPOCH, currency="EUR", credit=10**15)


@dataclass(kw_only=True)
class Priced(Api):
    limiter: Limiter


def make_priced(
    text: str | Sequence[str] = "hello",
    agent: Agent | None = None,
    *,
    tenant: Tenant = RICH,
    **engine: Any,
) -> Priced:
    tokenizer, router, recorder = make_tokenizer(), Router(), MemoryRecorder()
    scripted = ScriptedEngine(tokenizer, text, **engine)
    router.set("tiny", BASE)
    model = make_model(scripted, router, tokenizer, template=TemplateHere(tokenizer))
    limiter = make_limiter(ApiSettings(), find_price=BOOK.find, find_tenant={NOBODY: tenant}.get)
    responses = MemoryResponses()
    conversations = MemoryConversations(responses)
    app = create_app(
        Models(model),
        recorder,
        ApiSettings(),
        responses=responses,
        limiter=limiter,
        agent=agent,
        conversations=conversations,
    )
    return Priced(scripted, recorder, router, app, responses, conversations, limiter=limiter)


def charged(g: Generation) -> int:
    """As the ledger does it, from the row that it is given."""
    row = encode(g)
    held = BOOK.timeline(row.group[3], row.group[1]).at(row.created)
    return assess(held, row.counts, withheld=row.withheld).amount


def all_charged(api: Priced) -> int:
    """By the ledger; what is left of the tenant's credit agrees, and nothing is reserved."""
    total = sum(map(charged, api.recorder.generations.values()))
    (credit,) = asyncio.run(api.limiter.look(ANYBODY)).money
    holding = credit.holding
    assert (holding.total + holding.used, holding.reserved) == (total, 0)
    return total


def test_usage_says_what_is_charged() -> None:
    api = make_priced()
    usage = api.complete().json()["usage"]
    assert usage["currency"] == "EUR"
    tokens = usage["prompt_tokens"] * 500_000 + usage["completion_tokens"] * 2_000_000
    assert round(usage["cost"] * NANOS) == tokens // 10**6 + 7 == all_charged(api)


def test_a_checkpoint_that_is_asked_for_by_its_id_costs_what_its_model_does() -> None:
    api = make_priced()
    expected = api.complete().json()["usage"]["cost"]
    answer = api.complete(model=BASE).json()
    assert (answer["usage"]["cost"], answer["model"]) == (expected, BASE)
    kept = [(g.alias, g.checkpoint) for g in api.recorder.generations.values()]
    assert kept == [("tiny", BASE), (BASE, BASE)]
    (credit,) = asyncio.run(api.limiter.look(ANYBODY)).money
    assert credit.holding.used + credit.holding.total == 2 * round(expected * NANOS)


def test_no_credit_is_no_answer_of_a_checkpoint_either() -> None:
    api = make_priced(tenant=msgspec.structs.replace(RICH, credit=0))
    assert api.complete(model=BASE).error()["code"] == "insufficient_quota"
    assert not api.engine.calls


def test_several_choices_are_charged_as_usage_says_once() -> None:
    for parameters in ({"n": 3}, {"prompt": ["ab", "cd"], "n": 2}):
        api = make_priced()
        usage = api.complete(**parameters).json()["usage"]
        assert len(api.recorder.generations) > 2
        assert round(usage["cost"] * NANOS) == all_charged(api)
        rows = [encode(g).counts for g in api.recorder.generations.values()]
        assert sum(one.prompt for one in rows) == usage["prompt_tokens"]
        assert sum(one.output for one in rows) == usage["completion_tokens"]
        assert sum(one.requests for one in rows) == 1


def test_the_last_chunk_says_it_too() -> None:
    api = make_priced()
    answer = api.chat(stream=True, stream_options={"include_usage": True}, n=2)
    usage = answer.events()[-1]["usage"]
    assert round(usage["cost"] * NANOS) == all_charged(api) > 0


def test_responses_say_it_too() -> None:
    api = make_priced()
    usage = api.call("POST", "/v1/responses", {"model": "tiny", "input": "hi"}).json()["usage"]
    assert round(usage["cost"] * NANOS) == all_charged(api) > 0


def test_what_is_not_shown_costs_nothing() -> None:
    api = make_priced()
    api.router.introduce(Checkpoint(BASE, "base", Path(".")), UNSURE)
    usage = api.complete(silence=True, temperature=0).json()["usage"]
    g = api.recorder.only()
    assert g.withheld
    assert (usage["completion_tokens"], usage["cost"]) == (len(g.output_ids), 0.0)
    assert all_charged(api) == 0


def test_an_answer_that_failed_before_anything_was_sent_costs_nothing() -> None:
    for parameters in ({}, {"n": 2}):
        api = make_priced(fail_at=3, error=EngineError("it broke"))
        assert api.complete(**parameters).status >= 500
        assert api.recorder.generations
        assert all_charged(api) == 0


def test_a_constraint_that_cannot_be_begun_leaves_nothing() -> None:
    api = make_priced(fail_at=0, error=InvalidConstraint("it is not understood"))
    assert api.complete().status == 400
    assert not api.recorder.generations


def test_a_choice_that_was_ready_costs_nothing_where_another_one_failed() -> None:
    api = make_priced(["a", "long enough"], fail_at=5, error=EngineError("it broke"))
    assert api.complete(n=2).status >= 500
    reasons = {g.finish_reason: g.usage["sent_tokens"] for g in api.recorder.generations.values()}
    assert reasons == {"stop": 0, "error": 0}
    assert all_charged(api) == 0


@pytest.mark.parametrize("error", [EngineError("it broke"), InvalidConstraint("nothing follows")])
def test_a_stream_that_we_break_off_costs_what_was_sent(error: Exception) -> None:
    api = make_priced(fail_at=4, error=error)
    answer = api.complete(stream=True)
    sent = [event for event in answer.events() if event.get("choices")]
    g = api.recorder.only()
    assert g.finish_reason == "error"
    assert g.usage["sent_tokens"] == len(g.output_ids) >= len(sent) > 0
    assert all_charged(api) == (4 * 500_000 + g.usage["sent_tokens"] * 2_000_000) // 10**6 + 7


def test_an_answer_that_is_too_late_costs_nothing() -> None:
    async def never() -> None:
        await asyncio.sleep(0.05)

    api = make_priced("x" * 200, pause=never)
    answer = api.call(
        "POST",
        "/v1/completions",
        {"model": "tiny", "prompt": "say", "max_tokens": 100},
        **{"x-request-timeout": "2"},
    )
    assert answer.status == 408
    g = api.recorder.only()
    assert (g.finish_reason, g.usage["sent_tokens"]) == ("cancelled", 0)
    assert all_charged(api) == 0


def test_who_leaves_pays_for_what_was_sampled() -> None:
    async def main() -> Priced:
        gone = asyncio.Event()
        api = make_priced("x" * 50)
        engine = api.engine

        async def leave() -> None:
            await asyncio.sleep(0)
            if engine.yielded >= 5:
                gone.set()
                await asyncio.sleep(0.01)

        engine.pause = leave
        body = {"model": "tiny", "prompt": "say", "max_tokens": 50, "stream": True}
        await api.acall("POST", "/v1/completions", body, hang_up=gone)
        return api

    api = asyncio.run(main())
    g = api.recorder.only()
    assert g.finish_reason == "cancelled"
    assert "sent_tokens" not in g.usage
    assert 0 < len(g.output_ids) < 50
    assert all_charged(api) == (3 * 500_000 + len(g.output_ids) * 2_000_000) // 10**6 + 7


def ask(api: Api, **parameters: Any) -> Answer:
    return api.call("POST", "/v1/responses", {"model": "tiny", "input": "hi"} | parameters)


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_that_cannot_be_stored_is_broken_off(stream: bool) -> None:
    api = make_priced()
    api.responses.full = True
    answer = ask(api, stream=stream)
    assert stream or answer.status == 503
    g = api.recorder.only()
    sent = answer.body.count(b"event: response.output_text.delta")
    assert (g.finish_reason, g.usage["sent_tokens"]) == ("cancelled", sent)
    assert (all_charged(api) == 0) is not stream


@pytest.mark.parametrize("stream", [False, True])
def test_the_last_step_is_broken_off_where_the_response_cannot_be_stored(stream: bool) -> None:
    agent = Agent(ToolsHere({"documents": Functions(lambda given: "Rome")}), AgentSettings())
    api = make_priced([call(), "It is Rome."], agent, context_length=16_384)
    api.responses.full = True
    tools = [{"type": "mcp", "server_label": "documents", "require_approval": "never"}]
    answer = ask(api, stream=stream, tools=tools)
    assert stream or answer.status == 503
    first, last = api.recorder.generations.values()
    assert (first.finish_reason, last.finish_reason) == ("stop", "cancelled")
    assert last.usage["sent_tokens"] == (len(last.output_ids) - 1) * stream
    assert all_charged(api) == charged(first) + charged(last)
    assert (charged(last) > 0) is stream


@pytest.mark.parametrize("stream", [False, True])
def test_a_step_of_an_answer_that_is_not_streamed_costs_nothing_where_it_fails(
    stream: bool,
) -> None:
    agent = Agent(ToolsHere({}), AgentSettings())
    api = make_priced("It is Rome.", agent, context_length=16_384, fail_at=4)
    tools = [{"type": "mcp", "server_label": "documents", "require_approval": "never"}]
    ask(api, stream=stream, tools=tools)
    assert (all_charged(api) > 0) is stream


@pytest.mark.parametrize("store", [None, True])
def test_nothing_is_computed_while_the_store_is_away(store: bool | None) -> None:
    api = make_priced()
    api.responses.away = True
    assert ask(api, store=store).error()["code"] == "database_unavailable"
    assert not api.engine.calls
    assert all_charged(api) == 0
    assert ask(api, store=False).status == 200


def test_nothing_is_computed_for_a_conversation_that_is_full() -> None:
    api = make_priced()
    id = api.call("POST", "/v1/conversations", {}).json()["id"]
    api.conversations.longest = 3
    assert ask(api, conversation=id).status == 200
    assert ask(api, conversation=id).error()["param"] == "conversation"
    assert len(api.engine.calls) == 1


def test_a_conversation_that_is_deleted_meanwhile_costs_nothing() -> None:
    async def scenario() -> None:
        api = make_priced()
        made = await api.acall("POST", "/v1/conversations", {})
        id = made.json()["id"]

        async def pause() -> None:
            api.conversations.rows.clear()

        api.engine.pause = pause
        body = {"model": "tiny", "input": "hi", "conversation": id}
        answer = await api.acall("POST", "/v1/responses", body)
        assert answer.error()["code"] == "conversation_not_found"
        assert charged(api.recorder.only()) == 0

    asyncio.run(scenario())
