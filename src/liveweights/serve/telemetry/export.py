"""Where metrics go: a provider that sends them on, by OTLP over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from liveweights import __version__
from liveweights.serve.telemetry.answers import AnswerMetrics
from liveweights.serve.telemetry.settings import TelemetrySettings

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader

PATIENCE = 5.0
"""Seconds for what is left at the end."""


class TelemetryUnavailable(RuntimeError):
    """The SDK is not installed; the message says how to."""


def open_reader(settings: TelemetrySettings) -> MetricReader:
    """Sends what was counted, again and again, in a thread of its own. Raises
    TelemetryUnavailable."""
    if find_spec("opentelemetry.sdk") is None or find_spec("opentelemetry.exporter") is None:
        raise TelemetryUnavailable(
            "[telemetry] endpoint needs an extra: pip install 'liveweights[telemetry]'"
        )
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    exporter = OTLPMetricExporter(endpoint=settings.endpoint)
    return PeriodicExportingMetricReader(exporter, export_interval_millis=1000 * settings.seconds)


@asynccontextmanager
async def counting(reader: MetricReader, instance: str) -> AsyncGenerator[AnswerMetrics]:
    """Metrics that ``reader`` takes; ``instance`` names this process among others. What is left is
    sent at the end."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource

    named = {"service.name": "liveweights", "service.version": __version__}
    resource = Resource.create({**named, "service.instance.id": instance})
    provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    metrics = AnswerMetrics(provider.get_meter("liveweights", __version__))
    task = asyncio.create_task(metrics.keep_counting())
    try:
        yield metrics
    finally:
        task.cancel()
        metrics.count()
        await asyncio.to_thread(provider.shutdown, timeout_millis=1000 * PATIENCE)
