"""The double and the real Writer keep the same promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from liveweights.record.errors import ConflictingFeedback, UnknownGeneration
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.record.writer import Writer
from liveweights.serve.api.recorder import Recorder
from liveweights.store.database import open_pool

from .doubles import MemoryRecorder

NOW = datetime.now(UTC)
GENERATION = Generation(
    id="gen_1",
    created_at=NOW,
    alias="tiny",
    checkpoint="tiny@000000000000",
    endpoint="completion",
    prompt_ids=[1],
    output_ids=[2],
    logprobs=[-0.5],
    raw_logprobs=[-0.5],
    output="x",
    finish_reason="stop",
    temperature=1.0,
    top_p=1.0,
)
FEEDBACK = Feedback(id="f", generation="gen_1", signal="reward", value=0.5, received_at=NOW)

Use = Callable[[Recorder], Awaitable[None]]


class RecorderConformance:
    def use(self, work: Use) -> None:
        raise NotImplementedError

    def test_feedback_right_after_its_generation_is_new_then_a_repeat(self) -> None:
        async def work(recorder: Recorder) -> None:
            await recorder.add_generation(GENERATION)
            assert await recorder.add_feedback(FEEDBACK) is True
            later = replace(FEEDBACK, received_at=NOW + timedelta(days=7))
            assert await recorder.add_feedback(later) is False

        self.use(work)

    def test_unknown_generations_are_told(self) -> None:
        async def work(recorder: Recorder) -> None:
            with pytest.raises(UnknownGeneration):
                await recorder.add_feedback(FEEDBACK)
            await recorder.add_generation(GENERATION)
            with pytest.raises(UnknownGeneration):
                await recorder.add_feedback(replace(FEEDBACK, tenant="other"))

        self.use(work)

    @pytest.mark.parametrize("change", [{"signal": "thumbs"}, {"value": 0.25}, {"text": "x"}])
    def test_conflicts_are_told(self, change: dict[str, object]) -> None:
        async def work(recorder: Recorder) -> None:
            await recorder.add_generation(GENERATION)
            await recorder.add_feedback(FEEDBACK)
            with pytest.raises(ConflictingFeedback):
                await recorder.add_feedback(replace(FEEDBACK, **change))

        self.use(work)


class TestMemory(RecorderConformance):
    def use(self, work: Use) -> None:
        async def scenario() -> None:
            await work(MemoryRecorder())

        asyncio.run(scenario())


class TestWriter(RecorderConformance):
    @pytest.fixture(autouse=True)
    def database(self, database_dsn: str) -> None:
        self.dsn = database_dsn

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[Writer]:
        pool = await open_pool(self.dsn)
        try:
            async with Writer(pool) as writer:
                yield writer
        finally:
            await pool.close()

    def use(self, work: Use) -> None:
        async def scenario() -> None:
            async with self.writer() as writer:
                await work(writer)

        asyncio.run(scenario())
