from __future__ import annotations

import msgspec

from liveweights.bom.metrics import list_metrics
from liveweights.gate.findings import Measured, judge
from liveweights.gate.statistics import paired_difference
from liveweights.gate.verdict import Evidence, Verdict
from liveweights.learn.drift import Drift


def test_what_a_gate_measured_is_listed_with_intervals_and_what_it_was_on() -> None:
    reward = paired_difference([1.0, 0.5, 1.0, 0.0], [0.0, 0.5, 0.5, 0.0], ["a", "a", "b", "c"])
    suite = Measured(
        suite="code",
        version="2",
        margin=0.1,
        candidate=[1.0, 1.0, 0.0],
        incumbent=[1.0, 0.0, 0.0],
        planned=3,
    )
    verdict = Verdict(
        outcome="PASS",
        reasons=(),
        evidence=Evidence(
            reward=reward,
            drift=Drift(divergence=0.02, worst=0.1, tokens=100, answers=9),
            suites=judge([suite], 0.95, 0.8),
        ),
    )
    metrics = {one.name: one for one in list_metrics(msgspec.to_builtins(verdict))}
    shown = metrics["held-back reward, candidate minus incumbent"]
    assert (shown.value, shown.low, shown.high) == (reward.mean, reward.low, reward.high)
    assert shown.where == "4 cases of 3 sessions, held back from training"
    assert metrics["divergence from the incumbent, nats per token"].value == 0.02
    assert metrics["score"].value == 2 / 3
    assert metrics["score"].where == "code 2, 3 cases"
    assert metrics["score, candidate minus incumbent"].low is not None


def test_what_was_not_measured_is_not_listed() -> None:
    assert list_metrics(None) == ()
    assert list_metrics({"outcome": "SKIPPED", "reasons": ["by hand"]}) == ()
    empty = Verdict(outcome="INCONCLUSIVE", reasons=(), evidence=Evidence())
    assert list_metrics(msgspec.to_builtins(empty)) == ()
