from __future__ import annotations

from statistics import NormalDist

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.gate.findings import Aim, Finding, Standing
from liveweights.gate.monitors import Habits, Monitors
from liveweights.gate.offpolicy import OffPolicy
from liveweights.gate.settings import GateSettings
from liveweights.gate.statistics import Difference, paired_difference
from liveweights.gate.verdict import Evidence, Verdict, decide
from liveweights.learn.drift import Drift

SETTINGS = GateSettings()
EITHER = GateSettings(primary="either")
HABITS = Habits(answers=100, silence=0.2, length=20, repetition=0)
CALM = Monitors(candidate=HABITS, incumbent=HABITS)
STEADY = Drift(divergence=0.01, worst=0.1, tokens=1000, answers=100)


def difference(mean: float, error: float, cases: int = 200) -> Difference:
    spread = np.tile([1.0, -1.0], cases // 2) * error * np.sqrt(cases - 1)
    return paired_difference(mean + spread, np.zeros(cases))


def evidence(
    reward: Difference | None = None,
    likelihood: Difference | None = None,
    offpolicy: OffPolicy | None = None,
) -> Evidence:
    return Evidence(
        reward=reward, likelihood=likelihood, offpolicy=offpolicy, drift=STEADY, monitors=CALM
    )


BETTER, EQUAL, WORSE = difference(0.1, 0.02), difference(0.0, 0.02), difference(-0.1, 0.02)
FEW = difference(0.5, 0.02, cases=20)


@pytest.mark.parametrize(
    ("given_evidence", "settings", "outcome", "words"),
    [
        (evidence(BETTER, EQUAL), SETTINGS, "PASS", "held-back reward is better: +0.1000"),
        (evidence(EQUAL, BETTER), SETTINGS, "INCONCLUSIVE", "would be found with 80% chance"),
        (evidence(EQUAL, BETTER), EITHER, "PASS", "likelihood of users' text is better"),
        (evidence(FEW, BETTER), SETTINGS, "PASS", "20 cases, at least 30 are needed"),
        (evidence(None, BETTER), SETTINGS, "PASS", "not measured"),
        (evidence(FEW, None), SETTINGS, "INCONCLUSIVE", "20 cases, at least 30"),
        (evidence(FEW, EQUAL), SETTINGS, "INCONCLUSIVE", "no improvement"),
        (evidence(BETTER, WORSE), SETTINGS, "FAIL", "likelihood of users' text is worse"),
        (evidence(WORSE, BETTER), SETTINGS, "FAIL", "held-back reward is worse"),
        (evidence(WORSE, BETTER), EITHER, "FAIL", "held-back reward is worse"),
        (
            evidence(difference(-0.03, 0.02), BETTER),
            EITHER,
            "INCONCLUSIVE",
            "likelihood rose but held-back reward fell",
        ),
        (evidence(), SETTINGS, "INCONCLUSIVE", "not measured"),
    ],
)
def test_outcomes(
    given_evidence: Evidence, settings: GateSettings, outcome: str, words: str
) -> None:
    verdict = decide(given_evidence, settings)
    assert verdict.outcome == outcome, verdict.reasons
    assert any(words in reason for reason in verdict.reasons), verdict.reasons
    assert len(verdict.causes) == (0 if outcome == "PASS" else len(verdict.reasons))


def finding(standing: Standing, aim: Aim = "no_harm") -> Finding:
    return Finding(
        suite="search",
        version="1",
        standing=standing,
        reason=f"search {standing}",
        margin=0.1,
        aim=aim,
        difference=EQUAL,
        worse=1.0,
        better=1.0,
    )


@pytest.mark.parametrize(
    ("given_evidence", "found", "outcome", "words"),
    [
        (evidence(BETTER, EQUAL), finding("INCONCLUSIVE"), "PASS", "search INCONCLUSIVE"),
        (evidence(BETTER, EQUAL), finding("WORSE"), "FAIL", "search WORSE"),
        (evidence(), finding("BETTER"), "PASS", "search BETTER"),
        (evidence(), finding("NOT_WORSE"), "INCONCLUSIVE", "search NOT_WORSE"),
        (evidence(FEW, None), finding("BETTER"), "PASS", "not judged: held-back reward: 20 cases"),
        # Only where nothing could be measured on what users did.
        (evidence(EQUAL, None), finding("BETTER"), "INCONCLUSIVE", "shows no improvement"),
        # A suite that was asked for by name is no improvement, and has to be shown not to be worse.
        (evidence(), finding("BETTER", "not_worse"), "INCONCLUSIVE", "not measured"),
        (
            evidence(BETTER, EQUAL),
            finding("INCONCLUSIVE", "not_worse"),
            "INCONCLUSIVE",
            "search INCONCLUSIVE",
        ),
    ],
)
def test_whole_episodes_may_harm_and_may_be_the_improvement(
    given_evidence: Evidence, found: Finding, outcome: str, words: str
) -> None:
    verdict = decide(msgspec.structs.replace(given_evidence, suites=(found,)), SETTINGS)
    assert verdict.outcome == outcome, verdict.reasons
    assert any(words in reason for reason in verdict.reasons), verdict.reasons


def test_harm_elsewhere_stops_an_improvement() -> None:
    good = evidence(BETTER, BETTER)
    replace = msgspec.structs.replace
    bad = [
        replace(good, drift=replace(STEADY, divergence=9.0)),
        replace(good, monitors=replace(CALM, broken=("silent on 97% of prompts",))),
        replace(
            good,
            offpolicy=OffPolicy(
                value=-0.2, low=-0.3, high=-0.1, effective=90, cases=100, clipped=0
            ),
        ),
    ]
    assert decide(good, SETTINGS).outcome == "PASS"
    assert [decide(case, SETTINGS).outcome for case in bad] == ["FAIL"] * 3


def test_what_was_not_measured_cannot_pass() -> None:
    good = evidence(BETTER, BETTER)
    replace = msgspec.structs.replace
    few = replace(CALM, candidate=replace(HABITS, answers=3))
    for case, words in [
        (replace(good, drift=None), "drift was not measured"),
        (replace(good, monitors=None), "monitors saw no answers"),
        (replace(good, monitors=few), "monitors saw 3 answers and need 30"),
    ]:
        verdict = decide(case, SETTINGS)
        assert (verdict.outcome, verdict.reasons) == ("INCONCLUSIVE", (verdict.reasons[0],))
        assert words in verdict.reasons[0]


def test_a_refused_estimate_is_neither_harm_nor_help() -> None:
    refused = OffPolicy(effective=3, cases=90, clipped=4, refused="3.0 effective samples of 90")
    assert decide(evidence(BETTER, EQUAL, refused), SETTINGS).outcome == "PASS"
    assert decide(evidence(EQUAL, EQUAL, refused), SETTINGS).outcome == "INCONCLUSIVE"


def test_a_candidate_that_answers_the_same_is_not_released_for_a_handful_of_lucky_cases() -> None:
    lucky = paired_difference([1.0] * 6 + [0.0] * 294, [0.0] * 300)
    assert lucky.low is not None
    assert lucky.low > 0
    verdict = decide(evidence(lucky), SETTINGS)
    assert verdict.outcome == "INCONCLUSIVE"
    assert "6 cases on which the two differ, at least 10" in verdict.reasons[0]


def test_likelihood_alone_does_not_release_what_lost_reward_on_few_cases() -> None:
    lost = paired_difference([-0.25] * 9 + [0.0] * 191, [0.75] * 9 + [0.0] * 191)
    verdict = decide(evidence(lost, BETTER), SETTINGS)
    assert verdict.outcome == "INCONCLUSIVE"
    assert "held-back reward fell" in verdict.reasons[0]


@given(
    st.floats(-0.3, 0.3),
    st.floats(0.001, 0.1),
    st.floats(-0.3, 0.3),
    st.floats(0.001, 0.1),
    st.floats(0, 0.3),
    st.sampled_from([SETTINGS, EITHER]),
)
def test_more_gain_never_turns_a_pass_away(
    reward: float, error: float, likelihood: float, spread: float, more: float, s: GateSettings
) -> None:
    rank = {"FAIL": 0, "INCONCLUSIVE": 1, "PASS": 2}
    before = decide(evidence(difference(reward, error), difference(likelihood, spread)), s)
    after = decide(
        evidence(difference(reward + more, error), difference(likelihood + more, spread)), s
    )
    assert rank[after.outcome] >= rank[before.outcome]


@pytest.mark.parametrize("settings", [SETTINGS, EITHER])
@pytest.mark.parametrize(("accepts", "at_most"), [(0.25, 0.025), (0.10, 0.0)])
def test_equal_candidates_pass_at_most_at_the_nominal_rate_and_worse_ones_never(
    settings: GateSettings, accepts: float, at_most: float
) -> None:
    rng = np.random.default_rng(4)
    runs, passed = 1000, 0
    for _ in range(runs):
        sessions = np.repeat(np.arange(25), 8).tolist()
        hard = rng.beta(2, 2, size=25).repeat(8) * 2  # some sessions are easier for both
        ours = np.where(rng.random(200) < accepts * hard, 0.75, -0.25)
        theirs = np.where(rng.random(200) < 0.25 * hard, 0.75, -0.25)
        moved = rng.normal(0.0 if accepts == 0.25 else -0.2, 0.3, size=200)
        verdict = decide(
            evidence(
                paired_difference(ours, theirs, sessions),
                paired_difference(moved, np.zeros(200), sessions),
            ),
            settings,
        )
        passed += verdict.outcome == "PASS"
    # Two standard errors of the simulation above the rate.
    assert passed / runs <= at_most + 2 * np.sqrt(at_most * (1 - at_most) / runs)


def test_a_better_candidate_is_found_about_as_often_as_theory_says() -> None:
    rng = np.random.default_rng(5)
    runs, passed, cases = 300, 0, 400
    for _ in range(runs):
        ours = np.where(rng.random(cases) < 0.35, 0.75, -0.25)
        theirs = np.where(rng.random(cases) < 0.25, 0.75, -0.25)
        passed += decide(evidence(paired_difference(ours, theirs)), SETTINGS).outcome == "PASS"
    error = np.sqrt((0.35 * 0.65 + 0.25 * 0.75) / cases)
    normal = NormalDist()
    theory = 1 - normal.cdf(1.96 - 0.1 / error)
    assert passed / runs == pytest.approx(theory, abs=0.06)


def test_a_verdict_survives_json_and_is_decided_the_same_again() -> None:
    verdict = decide(evidence(BETTER, EQUAL), SETTINGS)
    again = msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict)
    assert again == verdict
    assert decide(again.evidence, SETTINGS) == verdict
