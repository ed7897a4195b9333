"""What a gate measured, as a list of values with their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from liveweights.bom.facts import Metric

NAMES = {
    "reward": "held-back reward, candidate minus incumbent",
    "likelihood": "log-likelihood per token of users' text, candidate minus incumbent",
    "accepted": "accepted answers per case, candidate minus what is to be kept",
}
"""Of a verdict's evidence: what each difference is of."""


def list_metrics(verdict: Mapping[str, Any] | None) -> tuple[Metric, ...]:
    """The values of a verdict as it is stored; none of one that holds no evidence."""
    evidence: Mapping[str, Any] = (verdict or {}).get("evidence") or {}
    return tuple(_metrics(evidence))


def _metrics(evidence: Mapping[str, Any]) -> Iterator[Metric]:
    for key, name in NAMES.items():
        if difference := evidence.get(key):
            where = f"{difference['cases']} cases of {difference['sessions']} sessions"
            yield _metric(name, difference, "mean", f"{where}, held back from training")
    off = evidence.get("offpolicy")
    if off and off.get("value") is not None:
        name = "off-policy reward, candidate minus incumbent"
        yield _metric(name, off, "value", f"{off['cases']} recorded answers")
    if drift := evidence.get("drift"):
        yield Metric(
            name="divergence from the incumbent, nats per token",
            value=drift["divergence"],
            where="held back from training",
        )
    for suite in evidence.get("suites") or ():
        difference = suite["difference"]
        where = f"{suite['suite']} {suite['version']}, {difference['cases']} cases"
        yield Metric(name="score", value=difference["candidate"], where=where)
        yield _metric("score, candidate minus incumbent", difference, "mean", where)


def _metric(name: str, numbers: Mapping[str, Any], value: str, where: str) -> Metric:
    return Metric(
        name=name,
        value=numbers[value],
        where=where,
        low=numbers.get("low"),
        high=numbers.get("high"),
    )
