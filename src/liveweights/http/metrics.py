"""Prometheus metrics of whatever answers requests."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class RequestMetrics:
    """What is counted of every request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "liveweights_requests",
            "Requests answered.",
            ["route", "status"],
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "liveweights_requests_in_flight",
            "Requests being answered.",
            ["route"],
            registry=self.registry,
        )
        self.refused = Counter(
            "liveweights_refused_requests",
            "Requests refused with 429, by what was full.",
            ["limit"],
            registry=self.registry,
        )
        self.latency = Histogram(
            "liveweights_request_seconds",
            "From request to last byte.",
            ["route"],
            buckets=SECONDS,
            registry=self.registry,
        )
