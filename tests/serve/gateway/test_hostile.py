"""Hostile answers through a real gateway into a real record: they pass, and the row is there."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liveweights.record.errors import WriterClosed
from liveweights.record.writer import Writer
from liveweights.serve.api.caller import Caller
from liveweights.serve.gateway.passage import Passage
from liveweights.serve.gateway.question import CHATS, read_question
from liveweights.store.database import open_pool

from . import hostile
from .stub import MemoryRecorder, Stub, scene

HUGE = 10**30
QUESTIONS: list[dict[str, Any]] = [
    {"seed": 2 * 10**19},
    {"seed": 2e19},
    {"max_tokens": 10**12},
    {"max_tokens": -1, "temperature": 1e39, "top_p": -HUGE},
    {"prompt": [HUGE, 1]},
]
ANSWERS: list[dict[str, Any]] = [
    hostile.plain(usage={"prompt_tokens": -5, "completion_tokens": HUGE}),
    hostile.plain(usage={"completion_tokens": 1.5, "total_tokens": "many"}),
    hostile.plain(choice={"token_ids": [1, HUGE]}),
    hostile.plain(choice={"token_ids": [1.5, "x"], "logprobs": {"content": [{"logprob": None}]}}),
    hostile.plain(
        choice={"logprobs": {"content": [{"token": "token_id:" + "9" * 5000, "logprob": -1e300}]}}
    ),
    hostile.plain(model="m" * 9000),
    hostile.plain(model=5, id=[1]),
    hostile.plain(choice={"finish_reason": "r" * 9000, "index": 3}),
    hostile.plain(choice={"message": {"content": "a\0b", "tool_calls": [{"index": 1.5}]}}),
]


def test_numbers_that_fit_no_column_change_nothing_for_the_caller(database_dsn: str) -> None:
    stub = Stub()

    async def run() -> str:
        pool = await open_pool(database_dsn)
        try:
            async with Writer(pool) as writer, scene(stub, recorder=writer) as stage:
                for question, answer in [
                    *((question, hostile.plain()) for question in QUESTIONS),
                    *(({}, answer) for answer in ANSWERS),
                ]:
                    stub.answer = hostile.encode(answer)
                    response, body = await stage.ask(**question)
                    assert (response.status, body) == (200, stub.answer), (question, answer)
                    id = response.headers["x-generation-id"]
                    index = answer["choices"][0]["index"]
                    said = {"generation": f"{id}.{index}" if index else id, "signal": "accepted"}
                    async with stage.client.post("/v1/feedback", json=said) as told:
                        assert told.status == 201, (question, answer)
                async with stage.client.get("/metrics") as response:
                    return await response.text()
        finally:
            await pool.close()

    metrics = asyncio.run(run())
    for field in ("seed", "max_tokens", "temperature", "usage", "checkpoint", "output_ids"):
        assert f'liveweights_unfit_values_total{{field="{field}"}}' in metrics, field
    assert "liveweights_unrecorded_answers_total" not in metrics.replace(
        "# HELP liveweights_unrecorded_answers_total", ""
    ).replace("# TYPE liveweights_unrecorded_answers_total", "")
    with psycopg.connect(database_dsn) as conn:
        rows = conn.execute("select seed, max_tokens, output, usage from generations").fetchall()
    assert len(rows) == len(QUESTIONS) + len(ANSWERS)
    assert all(output.startswith(("yes", "a\ufffdb")) for _, _, output, _ in rows)
    assert all(seed is None and 0 <= most < 2**31 for seed, most, _, _ in rows)


@given(st.lists(st.tuples(hostile.questions, hostile.answers), min_size=1, max_size=8))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_database_takes_every_row(
    database_dsn: str, said: list[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    caller = Caller(tenant="t", user=None, session=None, surface="", language="", consent=True)
    rows: list[Any] = []
    for question, answer in said:
        asked = read_question(hostile.encode(question), CHATS)
        passage = Passage(asked, "chat", caller)
        passage.add_whole(hostile.encode(answer))
        rows += passage.finish()

    async def run() -> None:
        pool = await open_pool(database_dsn)
        try:
            async with Writer(pool) as writer:
                for row in rows:
                    await writer.add_generation(row)
                await writer.flush()
        finally:
            await pool.close()

    asyncio.run(run())
    ids = [row.id for row in rows]
    with psycopg.connect(database_dsn) as conn:
        found = conn.execute("select id from generations where id = any(%s)", (ids,)).fetchall()
    assert {id for (id,) in found} == set(ids)


class Broken(MemoryRecorder):
    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.error = error

    async def add_generation(self, generation: Any, /) -> None:
        if self.error is None:
            await asyncio.Event().wait()
        else:
            raise self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [(WriterClosed("over"), "closing"), (OSError("disk"), "refused"), (None, "slow")],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_record_that_takes_nothing_costs_nobody_an_answer(
    error: Exception | None, reason: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liveweights.serve.gateway.delivery.RECORD_SECONDS", 0.1)
    stub = Stub() if stream else Stub(answer=hostile.encode(hostile.plain()))

    async def run() -> None:
        async with scene(stub, recorder=Broken(error)) as stage, asyncio.timeout(20):
            response, body = await stage.ask(stream=stream)
            meant = b"".join(stub.answer) if isinstance(stub.answer, list) else stub.answer
            assert (response.status, body) == (200, meant)
            if not stream:
                assert "x-generation-id" not in response.headers
            async with stage.client.get("/metrics") as metrics:
                line = f'liveweights_unrecorded_answers_total{{reason="{reason}"}} 1.0'
                assert line in await metrics.text()

    asyncio.run(run())


def test_an_answer_without_end_is_not_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("liveweights.serve.gateway.delivery.LONGEST", 10_000)
    body = hostile.encode(hostile.plain(choice={"message": {"content": "x" * 1_000_000}}))

    async def run() -> None:
        async with scene(Stub(answer=body)) as stage, asyncio.timeout(20):
            response, came = await stage.ask()
            assert (response.status, came) == (200, body)
            row = stage.recorder.only()
            used = {"prompt_tokens": 7, "completion_tokens": 6}
            assert (row.output, row.usage) == ("", used)

    asyncio.run(run())


def test_names_of_models_are_counted_one_by_one_up_to_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stub = Stub()

    async def run() -> None:
        async with scene(stub) as stage:
            for number in range(60):
                body = hostile.plain(choice={"finish_reason": f"reason-{number}"})
                stub.answer = hostile.encode(body)
                await stage.ask()
            async with stage.client.get("/metrics") as metrics:
                text = await metrics.text()
            assert 'finish_reason="reason-49"' in text
            assert 'finish_reason="reason-50"' not in text
            assert 'finish_reason="other"' in text

    asyncio.run(run())
