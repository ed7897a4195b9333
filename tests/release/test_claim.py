from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.release.claim import Shown, conclude, say


def live(difference: float | None, low: float | None = None, high: float | None = None) -> Shown:
    return Shown(difference=difference, low=low, high=high, confidence=0.95, sessions=(3, 4))


def gate(outcome: str, **differences: dict[str, Any]) -> dict[str, Any]:
    return {"outcome": outcome, "reasons": ["so it is"], "evidence": differences}


def difference(mean: float, low: float, wins: int, changed: int, cases: int = 48) -> dict[str, Any]:
    return {"mean": mean, "low": low, "wins": wins, "changed": changed, "cases": cases}


BETTER = difference(0.1, 0.05, 12, 15)
NOTHING = difference(0.0, 0.0, 0, 0)
LIKELIER = difference(0.3, 0.2, 42, 48)


@pytest.mark.parametrize(
    ("shown", "asked", "word", "sentence"),
    [
        (live(0.2, 0.1, 0.3), None, "yes", "better on live traffic"),
        (live(-0.2, -0.3, -0.1), gate("PASS", reward=BETTER), "no", "worse on live traffic"),
        (None, gate("FAIL", reward=BETTER), "no", "worse at the gate"),
        (live(0.2, 0.1, 0.3), gate("FAIL"), "no", "worse at the gate"),
        (None, gate("PASS", reward=BETTER), "yes", "live traffic does not contradict it"),
        (live(0.1, -0.1, 0.3), gate("PASS", reward=BETTER), "yes", "does not contradict it"),
        (live(-0.1, -0.3, 0.1), gate("PASS", reward=BETTER), "not shown", "lower on live traffic"),
        (None, gate("PASS", likelihood=LIKELIER), "not shown", "no answers are shown to be better"),
        (live(0.1, -0.1, 0.3), gate("PASS", reward=NOTHING), "not shown", "no answers are shown"),
        (None, gate("INCONCLUSIVE", reward=NOTHING), "not shown", "the gate could not tell"),
        (None, gate("SKIPPED"), "not shown", "the gate said SKIPPED"),
        (None, None, "not shown", "neither the gate nor live traffic"),
    ],
)
def test_the_word_follows_from_the_rules(
    shown: Shown | None, asked: dict[str, Any] | None, word: str, sentence: str
) -> None:
    improved, summary = conclude(shown, asked)
    assert improved == word
    assert sentence in summary


def test_likelier_texts_and_a_lower_canary_are_no_improvement_and_both_are_told() -> None:
    """Nothing that was asked again differed, and one session earned less."""
    asked = gate("PASS", reward=NOTHING, likelihood=LIKELIER)
    improved, summary = conclude(live(-0.108), asked)
    assert improved == "not shown"
    assert "-0.1080, too few sessions for an interval (3 and 4 sessions)" in summary
    assert "asked again +0.0000, 0 better and 0 worse of 48 cases" in summary
    assert "likelihood of users' text +0.3000, 42 rose and 6 fell of 48 cases" in summary


numbers = st.floats(-1, 1)


@given(st.lists(numbers, min_size=3, max_size=3).map(sorted), numbers, st.sampled_from(
    ["PASS", "FAIL", "INCONCLUSIVE", "SKIPPED"]
))  # fmt: skip
def test_yes_is_never_said_against_the_evidence(
    ends: list[float], low: float, outcome: str
) -> None:
    shown = live(ends[1], ends[0], ends[2])
    improved, _ = conclude(shown, gate(outcome, reward=difference(low, low, 1, 1)))
    if improved == "yes":
        assert outcome != "FAIL"
        assert ends[0] > 0 or (low > 0 and outcome == "PASS" and ends[1] >= 0)
    if ends[2] < 0:
        assert improved == "no"


def test_a_difference_is_said_with_its_interval() -> None:
    assert say(live(0.5, 0.25, 0.75)) == "+0.5000 [+0.2500, +0.7500] at 0.95"
    assert say(live(None)) == "not compared"
