"""How many judged cases one whose truth is known stands for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.gate.evidence import gather
from liveweights.gate.scoring import Case, Values
from liveweights.gate.settings import GateSettings
from liveweights.gate.statistics import paired_difference
from liveweights.gate.verdict import decide
from liveweights.gate.weighting import LEAST_KNOWN, OneSided, weigh_cases

TAKEN = Case("t", "s", "right", taken=True)
REFUSED = Case("r", "s", None, rejected="wrong", taken=False)
CORRECTED = Case("c", "s", "right", rejected="wrong", taken=False)
IGNORED = Case("i", "s", None)


@given(st.integers(1, 50), st.integers(LEAST_KNOWN, 50), st.integers(0, 50), st.integers(0, 9))
def test_known_cases_stand_for_all_that_were_judged(
    taken: int, corrected: int, refused: int, ignored: int
) -> None:
    cases = [TAKEN] * taken + [CORRECTED] * corrected + [REFUSED] * refused + [IGNORED] * ignored
    weights = dict(zip(cases, weigh_cases(cases), strict=True))
    assert weights[TAKEN] == 1.0
    assert weights[CORRECTED] * corrected == pytest.approx(corrected + refused)
    assert not any(weights.get(case) for case in (REFUSED, IGNORED))


@pytest.mark.parametrize(
    ("cases", "why"),
    [
        ([TAKEN] * 40 + [REFUSED] * 60, "of 60 refused answers users wrote 0 times"),
        ([TAKEN] * 40 + [REFUSED] * 60 + [CORRECTED] * 9, "of 69 refused answers users wrote 9"),
        ([CORRECTED] * 60 + [IGNORED] * 7, "took none"),
        ([TAKEN] * 60 + [IGNORED] * 7, "refused none"),
    ],
)
def test_what_tells_of_one_side_only_tells_nothing(cases: list[Case], why: str) -> None:
    with pytest.raises(OneSided, match=why):
        weigh_cases(cases)


@pytest.mark.parametrize("one", [TAKEN, CORRECTED])
def test_one_kind_alone_is_all_there_is_where_every_answer_was_judged(one: Case) -> None:
    assert weigh_cases([one] * 60 + [IGNORED] * 6) == [1.0] * 60 + [0.0] * 6


def test_few_refusals_that_were_all_corrected_are_enough() -> None:
    assert weigh_cases([TAKEN] * 27 + [CORRECTED] * 3) == [1.0] * 30


def test_a_weight_counts_a_case_as_often() -> None:
    weighed = paired_difference([1, 0, 1], [0, 0, 1], ["a", "b", "c"], weights_B=[2.0, 1.0, 1.0])
    repeated = paired_difference([1, 1, 0, 1], [0, 0, 0, 1], ["a", "a", "b", "c"])
    assert weighed.mean == repeated.mean == 0.5
    assert weighed.standard_error == pytest.approx(repeated.standard_error)
    assert (weighed.candidate, weighed.incumbent) == (repeated.candidate, repeated.incumbent)
    with pytest.raises(ValueError, match="weights above 0"):
        paired_difference([1, 0], [0, 0], weights_B=[1.0, 0.0])


def draw(
    rng: np.random.Generator, told: float
) -> tuple[list[Case], dict[str, str], dict[str, str]]:
    """200 prompts that two models as good as one another answer: each is right at 30%, they differ
    at 12%. Of the incumbent's failures users write what they wanted with this chance."""
    cases: list[Case] = []
    ours: dict[str, str] = {}
    theirs: dict[str, str] = {}
    for number in range(200):
        id, place = str(number), rng.random()
        right = place < 0.3
        truth = id if right or rng.random() < told else None
        cases.append(
            Case(id, f"s{number // 5}", truth, rejected=None if right else "no", taken=right)
        )
        theirs[id] = id if right else "no"
        ours[id] = id if 0.06 <= place < 0.3 or place >= 0.94 else "other"
    return cases, ours, theirs


def judge(told: float, seed: int) -> tuple[str, float | None]:
    cases, ours, theirs = draw(np.random.default_rng(seed), told)
    settings = GateSettings()
    found = gather([], cases, ours, theirs, values=Values(), settings=settings)
    verdict = decide(found, settings)
    return verdict.outcome, found.reward.mean if found.reward else None


@pytest.mark.parametrize("told", [1.0, 0.3])
def test_an_equal_candidate_is_neither_better_nor_worse(told: float) -> None:
    outcomes, means = zip(*[judge(told, seed) for seed in range(40)], strict=True)
    assert abs(np.mean(means)) < 3 * np.std(means) / np.sqrt(40)
    assert outcomes.count("FAIL") <= 5
    assert "PASS" not in outcomes  # drift was not measured


def test_of_clicks_alone_no_reward_is_judged() -> None:
    assert judge(0.0, 0) == ("INCONCLUSIVE", None)


def test_the_verdict_says_what_users_do_not_tell() -> None:
    cases, ours, theirs = draw(np.random.default_rng(0), 0.0)
    settings = GateSettings()
    found = gather([], cases, ours, theirs, values=Values(), settings=settings)
    verdict = decide(found, settings)
    assert "untold" in verdict.causes
    assert any("users wrote 0 times what they wanted" in reason for reason in verdict.reasons)


def test_silence_is_watched_where_something_may_be_withheld() -> None:
    """Beside what has to be said it would look rare."""
    cases = [
        Case(f"{number}", f"s{number}", "x = 1", may_be_silent=number < 40) for number in range(400)
    ]
    theirs = {case.generation: "x = 1" for case in cases}
    ours = {case.generation: "" if case.may_be_silent else "x = 1" for case in cases}
    found = gather([], cases, ours, theirs, values=Values(), settings=GateSettings())
    assert found.monitors is not None
    (sentence, _) = found.monitors.broken
    assert sentence.startswith("completions with silence: silent on 100%")
