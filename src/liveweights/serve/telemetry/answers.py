"""Metrics of answers by OpenTelemetry's SDK (extra ``telemetry``).

Names, units, attributes and boundaries are those of the semantic conventions for generative AI:
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from liveweights.record.backlog import Backlog
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.serve.api.recorder import Recorder

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

log = logging.getLogger(__name__)

PROVIDER = "liveweights"
OPERATIONS = {"chat": "chat", "completion": "text_completion"}
TOKENS = tuple(4.0**n for n in range(14))
SECONDS = tuple(0.01 * 2**n for n in range(14))
WAITING = 10_000
"""Answers that wait to be counted; beyond it the oldest are not."""
EVERY = 1.0
"""Seconds between two times that they are counted."""


class AnswerMetrics:
    """Answers are noted while they are served, and counted later."""

    def __init__(self, meter: Meter) -> None:
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=TOKENS,
        )
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=SECONDS,
        )
        self._waiting: deque[Generation] = deque(maxlen=WAITING)

    def note(self, generation: Generation) -> None:
        self._waiting.append(generation)

    def count(self) -> None:
        """All that were noted."""
        while self._waiting:
            self._count(self._waiting.popleft())

    def _count(self, g: Generation) -> None:
        attributes = {
            "gen_ai.operation.name": OPERATIONS[g.endpoint],
            "gen_ai.provider.name": PROVIDER,
            "gen_ai.request.model": g.alias,
            "gen_ai.response.model": g.checkpoint,
        }
        # The first choice of a request has its prompt.
        first = g.usage.get("requests", 1) > 0
        if first:
            read = g.usage.get("prompt_tokens", len(g.prompt_ids))
            self._tokens.record(read, {**attributes, "gen_ai.token.type": "input"})
        written = g.usage.get("completion_tokens", len(g.output_ids))
        self._tokens.record(written, {**attributes, "gen_ai.token.type": "output"})
        if first:
            failed = {"error.type": "_OTHER"} if g.finish_reason == "error" else {}
            self._duration.record(g.total_ms / 1000, attributes | failed)

    async def keep_counting(self) -> None:
        """For ever, in a thread: nobody who is answered waits for it."""
        while True:
            await asyncio.sleep(EVERY)
            await asyncio.to_thread(self.count)


class MeteredRecorder:
    """A recorder whose answers are noted, too."""

    def __init__(self, recorder: Recorder, metrics: AnswerMetrics) -> None:
        self._recorder = recorder
        self._metrics = metrics

    @property
    def backlog(self) -> Backlog:
        return self._recorder.backlog

    async def add_generation(self, generation: Generation, /) -> None:
        await self._recorder.add_generation(generation)
        self._metrics.note(generation)

    async def steps(self, tenant: str, name: str, /, *, session: bool) -> list[str]:
        return await self._recorder.steps(tenant, name, session=session)

    async def add_feedback(self, feedback: Feedback, /) -> bool:
        return await self._recorder.add_feedback(feedback)
