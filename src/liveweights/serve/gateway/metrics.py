"""Prometheus metrics of the gateway."""

from __future__ import annotations

from prometheus_client import Counter

from liveweights.serve.api.metrics import Metrics

MOST = 1000
OTHER = "other"


class Names:
    """Clients and upstreams choose the names of models, and each is a series for as long as the
    process lives: after so many, new ones are counted together."""

    def __init__(self, most: int = MOST, longest: int = 128) -> None:
        self._most = most
        self._longest = longest
        self._known: set[str] = set()

    def __call__(self, name: str) -> str:
        if name in self._known:
            return name
        if len(self._known) >= self._most or len(name) > self._longest:
            return OTHER
        self._known.add(name)
        return name


class GatewayMetrics(Metrics):
    """Those of the API, and what became of what passed."""

    def __init__(self) -> None:
        super().__init__()
        self.unfit = Counter(
            "liveweights_unfit_values",
            "Values of passing requests and answers that were clipped or left out of the record.",
            ["field"],
            registry=self.registry,
        )
        self.unrecorded = Counter(
            "liveweights_unrecorded_answers",
            "Answers that passed without joining the record.",
            ["reason"],
            registry=self.registry,
        )
        self.model = Names()
        self.checkpoint = Names()
        self.reason = Names(most=50)
