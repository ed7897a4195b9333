"""Prometheus metrics of one API process."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram, generate_latest
from starlette.types import Receive, Scope, Send

from liveweights.http.metrics import CONTENT_TYPE, SECONDS, RequestMetrics
from liveweights.http.slots import Slots
from liveweights.http.wire import reply
from liveweights.record.backlog import Backlog
from liveweights.serve.api.draft import Draft
from liveweights.serve.api.recorder import Recorder
from liveweights.serve.models import Models


class Metrics(RequestMetrics):
    def __init__(self) -> None:
        super().__init__()
        self.running = Gauge(
            "liveweights_running_answers", "Answers being computed.", registry=self.registry
        )
        self.waiting = Gauge(
            "liveweights_waiting_requests",
            "Requests waiting for their turn.",
            registry=self.registry,
        )
        self.first_token = Histogram(
            "liveweights_first_token_seconds",
            "From admission to first token.",
            ["model"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.tokens = Counter(
            "liveweights_tokens",
            "Tokens read (prompt) and sampled (completion).",
            ["model", "kind"],
            registry=self.registry,
        )
        self.generations = Counter(
            "liveweights_generations",
            "Answers by how they ended.",
            ["model", "checkpoint", "finish_reason"],
            registry=self.registry,
        )
        self.feedback = Counter(
            "liveweights_feedback",
            "Feedback by signal and outcome.",
            ["signal", "outcome"],
            registry=self.registry,
        )
        self.resident = Gauge(
            "liveweights_resident_checkpoint",
            "1 for each checkpoint that can answer.",
            ["checkpoint"],
            registry=self.registry,
        )
        self.pinned = Gauge(
            "liveweights_pinned_requests",
            "Requests that hold a checkpoint.",
            ["checkpoint"],
            registry=self.registry,
        )
        self.model_memory = Gauge(
            "liveweights_model_memory_bytes",
            "Memory that a local model takes, where models.memory_gib bounds it.",
            ["model"],
            registry=self.registry,
        )
        self.canary_share = Gauge(
            "liveweights_canary_share",
            "Share of sessions on the alias's canary.",
            ["alias"],
            registry=self.registry,
        )

        self.backlog_rows = Gauge(
            "liveweights_record_backlog_rows",
            "Answers and feedback that are not in the database yet.",
            registry=self.registry,
        )
        self.backlog_bytes = Gauge(
            "liveweights_record_backlog_bytes",
            "How large they are, in memory and on disk.",
            registry=self.registry,
        )
        self.backlog_age = Gauge(
            "liveweights_record_backlog_seconds",
            "Age of the oldest of them.",
            registry=self.registry,
        )
        self.quarantined = Gauge(
            "liveweights_record_quarantined_rows",
            "Rows that the database refused and this process put into quarantine.",
            registry=self.registry,
        )

    def answered(self, draft: Draft, reason: str) -> None:
        model = draft.alias
        self.tokens.labels(model, "prompt").inc(len(draft.prompt_ids) * draft.first)
        self.tokens.labels(model, "completion").inc(len(draft.tokens))
        self.generations.labels(model, draft.checkpoint, reason).inc()
        if draft.tokens:
            self.first_token.labels(model).observe(draft.first_token_ms / 1000)

    def expose(self, backlog: Backlog) -> bytes:
        """The exposition text."""
        self.backlog_rows.set(backlog.rows)
        self.backlog_bytes.set(backlog.bytes)
        self.backlog_age.set(backlog.age)
        self.quarantined.set(backlog.quarantined)
        return generate_latest(self.registry)

    def render(self, models: Models, slots: Slots, backlog: Backlog) -> bytes:
        """The exposition text; what is a state rather than an event is read now."""
        self.running.set(slots.running)
        self.waiting.set(slots.waiting)
        self.resident.clear()
        self.pinned.clear()
        for checkpoint, requests in models.in_use().items():
            self.resident.labels(checkpoint).set(1)
            self.pinned.labels(checkpoint).set(requests)
        self.model_memory.clear()
        for name, size in models.held().items():
            self.model_memory.labels(name).set(size)
        self.canary_share.clear()
        for route in models.routes():
            self.canary_share.labels(route.name).set(route.share if route.canary else 0)
        return self.expose(backlog)


class MetricsEndpoint:
    """GET /metrics"""

    def __init__(self, metrics: Metrics, models: Models, slots: Slots, recorder: Recorder) -> None:
        self._metrics = metrics
        self._slots = slots
        self._models = models
        self._recorder = recorder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        backlog = self._recorder.backlog
        text = self._metrics.render(self._models, self._slots, backlog)
        await reply(send, 200, text, content_type=CONTENT_TYPE)
