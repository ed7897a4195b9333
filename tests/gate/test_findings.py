from __future__ import annotations

from typing import get_args

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.gate.findings import Aim, Finding, Measured, is_harmed, judge

CONFIDENCE, POWER = 0.95, 0.8


def measured(
    rng: np.random.Generator,
    *,
    solved: float = 0.5,
    win: float = 0.0,
    loss: float = 0.0,
    cases: int = 200,
    margin: float = 0.05,
) -> Measured:
    """Of the cases that the incumbent fails, the candidate wins a share; of the others it loses."""
    theirs = rng.random(cases) < solved
    ours = np.where(theirs, rng.random(cases) >= loss, rng.random(cases) < win)
    return Measured(
        suite="code",
        version="1",
        margin=margin,
        candidate=ours.astype(float).tolist(),
        incumbent=theirs.astype(float).tolist(),
        planned=cases,
    )


def one(suite: Measured) -> Finding:
    return judge([suite], CONFIDENCE, POWER)[0]


@pytest.mark.parametrize(
    ("kind", "standing", "words"),
    [
        ({"win": 0.3}, "BETTER", "code is better: +0."),
        ({}, "NOT_WORSE", "not worse by more than 0.05"),
        ({"loss": 0.4}, "WORSE", "code is worse: -0."),
        ({"cases": 30}, "INCONCLUSIVE", "it would take about"),
        ({"win": 0.2, "loss": 0.2, "margin": 0.01}, "INCONCLUSIVE", "it would take about"),
    ],
)
def test_standings(kind: dict[str, float], standing: str, words: str) -> None:
    finding = one(measured(np.random.default_rng(0), **kind))  # type: ignore[arg-type]
    assert (finding.standing, words in finding.reason) == (standing, True), finding.reason
    assert (finding.needed is None) == (standing != "INCONCLUSIVE")


def test_a_suite_that_must_improve_is_not_satisfied_with_no_harm() -> None:
    equal = measured(np.random.default_rng(0))
    assert one(msgspec.structs.replace(equal, aim="better")).standing == "INCONCLUSIVE"


@given(st.integers(0, 2**16), st.sampled_from([5, 40, 200]), st.sampled_from([0.0, 0.1, 0.4]))
def test_what_is_said_is_what_the_interval_shows(seed: int, cases: int, loss: float) -> None:
    """Also of whole episodes, which hold nothing up."""
    found = measured(np.random.default_rng(seed), cases=cases, loss=loss, win=0.1)
    for aim in get_args(Aim):
        finding = one(msgspec.structs.replace(found, aim=aim))
        low = finding.difference.low
        within = low is not None and low > -finding.margin
        assert ("may be worse by more than" in finding.reason) <= (not within)
        assert (finding.standing == "NOT_WORSE") <= within
        assert (finding.standing in ("INCONCLUSIVE", "WORSE")) <= (not within or aim == "better")


def test_as_many_cases_as_it_asks_for_are_enough() -> None:
    rng = np.random.default_rng(1)
    even = Measured(
        suite="code",
        version="1",
        margin=0.04,
        candidate=[1.0] * 5 + [0.0] * 5 + [1.0] * 90,
        incumbent=[0.0] * 5 + [1.0] * 5 + [1.0] * 90,
        planned=100,
    )
    pilot = one(even)
    assert pilot.standing == "INCONCLUSIVE"
    assert pilot.needed is not None
    runs = [
        one(measured(rng, win=0.1, loss=0.1, cases=pilot.needed, margin=0.04)) for _ in range(200)
    ]
    met = sum(run.standing in ("NOT_WORSE", "BETTER") for run in runs) / len(runs)
    # An equal candidate meets the margin with the stated power; the pilot's spread is a guess.
    assert met == pytest.approx(POWER, abs=0.12)


@pytest.mark.parametrize("suites", [1, 3])
def test_an_equal_candidate_is_rarely_called_worse_or_better_anywhere(suites: int) -> None:
    rng = np.random.default_rng(2)
    runs, worse, better = 400, 0, 0
    for _ in range(runs):
        found = judge(
            [measured(rng, win=0.2, loss=0.2, cases=80) for _ in range(suites)], CONFIDENCE, POWER
        )
        worse += any(finding.standing == "WORSE" for finding in found)
        better += any(finding.standing == "BETTER" for finding in found)
    limit = 0.025 + 2 * (0.025 * 0.975 / runs) ** 0.5
    assert max(worse, better) / runs <= limit


def test_harm_is_seen_before_the_end_and_named() -> None:
    rng = np.random.default_rng(3)
    full = measured(rng, loss=0.7, cases=200)
    seen = next(
        n
        for n in range(1, 200)
        if is_harmed(
            msgspec.structs.replace(
                full, candidate=full.candidate[:n], incumbent=full.incumbent[:n]
            ),
            0.0125,
        )
    )
    assert seen < 60
    finding = one(
        msgspec.structs.replace(
            full,
            candidate=full.candidate[:seen],
            incumbent=full.incumbent[:seen],
            stopped=True,
        )
    )
    assert (finding.standing, finding.stopped) == ("WORSE", True)
    assert f"stopped after {seen} of 200 cases" in finding.reason


def test_harm_within_the_margin_and_dependent_cases_do_not_stop_a_suite() -> None:
    lost = [0.0] * 12 + [1.0] * 988
    slight = Measured(
        suite="s",
        version="1",
        margin=0.05,
        candidate=lost,
        incumbent=[1.0] * 1000,
        planned=1000,
    )
    assert not is_harmed(slight, 0.05)
    assert is_harmed(msgspec.structs.replace(slight, margin=0.01), 0.05)
    grouped = msgspec.structs.replace(slight, margin=0.01, groups=["a"] * 1000)
    assert not is_harmed(grouped, 0.05)
    assert one(grouped).reason.endswith("there is no spread to see")


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=40),
    st.floats(0.001, 0.2),
)
def test_what_is_better_for_one_is_worse_for_the_other(
    pairs: list[tuple[float, float]], margin: float
) -> None:
    ours, theirs = [list(side) for side in zip(*pairs, strict=True)]
    suite = Measured(
        suite="s",
        version="1",
        margin=margin,
        candidate=ours,
        incumbent=theirs,
        planned=len(ours),
    )
    finding = one(suite)
    mirrored = one(msgspec.structs.replace(suite, candidate=theirs, incumbent=ours))
    assert finding.worse == pytest.approx(mirrored.better, abs=1e-9)
    if finding.standing == "WORSE":
        assert mirrored.standing == "BETTER"


def test_findings_survive_json() -> None:
    finding = one(measured(np.random.default_rng(0), win=0.3))
    assert msgspec.json.decode(msgspec.json.encode(finding), type=Finding) == finding
