"""What is told of answers, by the SDK's own reader, and what reaches a collector."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from tests.record.rows import make_feedback, make_generation
from tests.serve.api.doubles import MemoryRecorder

from liveweights.serve.telemetry.answers import SECONDS, TOKENS, MeteredRecorder
from liveweights.serve.telemetry.export import counting, open_reader
from liveweights.serve.telemetry.settings import TelemetrySettings

TOKEN_USAGE, DURATION = "gen_ai.client.token.usage", "gen_ai.client.operation.duration"
OF_ALL = {
    "gen_ai.operation.name": "text_completion",
    "gen_ai.provider.name": "liveweights",
    "gen_ai.request.model": "live",
    "gen_ai.response.model": "base@000000000000",
}


def points(reader: InMemoryMetricReader) -> dict[str, Any]:
    """By the metric's name."""
    data = reader.get_metrics_data()
    assert data is not None
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    units = {metric.name: metric.unit for metric in metrics}
    assert units == {TOKEN_USAGE: "{token}", DURATION: "s"}
    return {metric.name: list(metric.data.data_points) for metric in metrics}


def test_answers_are_counted_by_the_conventions() -> None:
    reader = InMemoryMetricReader()

    async def work() -> None:
        async with counting(reader, "here:1") as metrics:
            recorder = MeteredRecorder(MemoryRecorder(), metrics)
            await recorder.add_generation(make_generation("a", total_ms=250.0))
            await recorder.add_generation(
                make_generation("b", usage={"prompt_tokens": 0, "requests": 0})
            )
            await recorder.add_generation(
                make_generation("c", finish_reason="error", total_ms=1000.0)
            )
            assert await recorder.add_feedback(make_feedback("f", "a"))
            assert recorder.backlog.rows == 0
            metrics.count()
            shown = points(reader)
        by_type = {p.attributes["gen_ai.token.type"]: p for p in shown[TOKEN_USAGE]}
        assert dict(by_type["input"].attributes) == OF_ALL | {"gen_ai.token.type": "input"}
        assert (by_type["input"].count, by_type["input"].sum) == (2, 6)
        assert (by_type["output"].count, by_type["output"].sum) == (3, 6)
        assert tuple(by_type["input"].explicit_bounds) == TOKENS
        whole, failed = sorted(shown[DURATION], key=lambda p: len(p.attributes))
        assert (dict(whole.attributes), whole.sum, whole.count) == (OF_ALL, 0.25, 1)
        assert dict(failed.attributes) == OF_ALL | {"error.type": "_OTHER"}
        assert tuple(whole.explicit_bounds) == SECONDS

    asyncio.run(work())


def test_what_was_counted_reaches_the_collector_at_the_end() -> None:
    sent: list[ExportMetricsServiceRequest] = []

    async def take(request: web.Request) -> web.Response:
        sent.append(ExportMetricsServiceRequest.FromString(await request.read()))
        return web.Response()

    async def work() -> None:
        app = web.Application()
        app.router.add_post("/v1/metrics", take)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        settings = TelemetrySettings(endpoint=f"http://127.0.0.1:{port}/v1/metrics")
        async with counting(open_reader(settings), "here:1") as metrics:
            metrics.note(make_generation("a", endpoint="chat"))
        await runner.cleanup()

    asyncio.run(work())
    (told,) = sent
    metrics = told.resource_metrics[0].scope_metrics[0].metrics
    assert {metric.name for metric in metrics} == {TOKEN_USAGE, DURATION}
    resource = {a.key: a.value.string_value for a in told.resource_metrics[0].resource.attributes}
    assert (resource["service.name"], resource["service.instance.id"]) == ("liveweights", "here:1")


@pytest.mark.parametrize("said", [{"endpoint": "localhost:4318"}, {"seconds": 0}])
def test_what_cannot_be_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(said, TelemetrySettings)
