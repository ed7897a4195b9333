from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.cycle.attempt import LEAST_STEP, Attempt, count_wanted, plan
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.settings import CycleSettings
from liveweights.cycle.states import News, decide_start
from liveweights.gate.settings import GateSettings
from liveweights.gate.statistics import paired_difference
from liveweights.learn.settings import LearnSettings

LEARN, GATE = LearnSettings(), GateSettings()


def cycle(
    id: int, outcome: Any, verdict: str | None = None, *, withdrawn: bool = False, **more: Any
) -> Cycle:
    return Cycle(
        id=id,
        alias="code",
        state="ended",
        incumbent="m@1",
        candidate="m@2",
        outcome=outcome,
        reason=None,
        learning=None,
        verdict={"outcome": verdict, "evidence": more.pop("evidence", {})} if verdict else None,
        canary=more.pop("canary", None),
        withdrawn=withdrawn,
    )


def newest_first(*cycles: Cycle) -> list[Cycle]:
    return list(reversed(cycles))


FAIL = cycle(1, "rejected", "FAIL")
PASSED = cycle(1, "promoted", "PASS")
TAKEN_BACK = cycle(1, "promoted", "PASS", withdrawn=True)
HARMFUL = cycle(1, "rolled_back", "PASS", canary={"proven": True})
BROKEN = cycle(1, "rolled_back", "PASS", canary={"guards": [{"broken": True}]})
TOO_FEW = cycle(1, "rolled_back", "PASS", canary={"proven": False, "guards": []})
UNCLEAR = cycle(1, "rejected", "INCONCLUSIVE")


@pytest.mark.parametrize(
    ("past", "step"),
    [
        ([], 1.0),
        ([FAIL], 0.5),
        ([FAIL, FAIL], 0.25),
        ([FAIL, PASSED], 1.0),
        ([FAIL, FAIL, PASSED], 0.5),
        ([FAIL, FAIL, UNCLEAR], 0.5),
        ([PASSED, PASSED], 1.0),
        ([TAKEN_BACK], 0.5),
        ([HARMFUL], 0.5),
        ([BROKEN], 0.5),
        ([TOO_FEW], 1.0),
        ([FAIL] * 20, LEAST_STEP),
    ],
)
def test_harm_halves_the_step_and_its_absence_doubles_it(past: list[Cycle], step: float) -> None:
    attempt = plan(newest_first(*past), LEARN, GATE)
    assert attempt.step == step
    assert ("a step" in attempt.why) == (step < 1)


ENDS = st.sampled_from([FAIL, PASSED, TAKEN_BACK, HARMFUL, TOO_FEW, UNCLEAR, cycle(1, "failed")])


@given(st.lists(ENDS, max_size=30))
def test_no_cycle_that_came_to_nothing_is_repeated(past: list[Cycle]) -> None:
    """After any end but a release the next update or its start differs, and it says how."""
    before = plan(past[1:], LEARN, GATE)
    after = plan(past, LEARN, GATE)
    assert LEAST_STEP <= after.step <= 1.0
    if past and (past[0].outcome != "promoted" or past[0].withdrawn):
        assert (after.step, after.seed) != (before.step, before.seed)
        assert after.why.startswith(f"cycle {past[0].id} ended as ")
    if past and past[0] == PASSED and before.step == 1.0:
        assert after == Attempt()


def test_what_is_restarted_or_open_says_nothing() -> None:
    others = [cycle(3, None), cycle(2, "restarted")]
    assert plan([*others, FAIL], LEARN, GATE) == plan([FAIL], LEARN, GATE)
    assert plan(others, LEARN, GATE) == Attempt()


def test_cycles_that_failed_are_followed_by_longer_and_longer_pauses() -> None:
    failed = cycle(1, "failed")
    assert [plan([failed] * n, LEARN, GATE).pause for n in range(8)] == [
        *(1, 2, 4, 8, 16, 32, 64, 64)
    ]
    assert plan([PASSED, failed], LEARN, GATE).pause == 1


def evidence(cases: int, changed: int, sessions: int) -> dict[str, Any]:
    values = np.zeros(cases)
    values[:changed] = np.resize([0.5, -0.5], changed)
    difference = paired_difference(values, np.zeros(cases), np.arange(cases) % sessions)
    return {"reward": msgspec.to_builtins(difference)}


def test_what_the_gate_was_short_of_is_waited_for() -> None:
    def wanted(**known: int) -> int:
        last = cycle(1, "rejected", "INCONCLUSIVE", evidence=evidence(**known))
        return count_wanted(last, LEARN, GATE)

    # A quarter is held back: four answers for each case.
    assert wanted(cases=20, changed=20, sessions=20) == 40
    assert wanted(cases=40, changed=20, sessions=2) == 12
    assert wanted(cases=40, changed=5, sessions=20) == 160
    # Nothing was short but the effect: as many as are asked at most.
    assert wanted(cases=100, changed=80, sessions=50) == 400
    assert count_wanted(UNCLEAR, LEARN, GATE) == 4 * GATE.min_cases
    assert count_wanted(FAIL, LEARN, GATE) == 0


@pytest.mark.parametrize(
    ("known", "counts"),
    [
        ({}, True),
        ({"reward": None, "likelihood": None}, True),
        (evidence(cases=20, changed=20, sessions=20), False),
        ({"likelihood": evidence(cases=2, changed=2, sessions=2)["reward"]}, False),
        ({"untold": "no answer was taken"}, False),
    ],
)
def test_next_messages_count_where_nobody_reacted(known: dict[str, Any], counts: bool) -> None:
    attempt = plan([cycle(1, "rejected", "INCONCLUSIVE", evidence=known)], LEARN, GATE)
    assert attempt.wanted > 0
    assert attempt.follow_ups == counts
    assert ("or a next message" in attempt.why) == counts


@given(ENDS)
def test_what_is_not_waited_for_is_not_counted(last: Cycle) -> None:
    attempt = plan([last], LEARN, GATE)
    assert attempt.wanted > 0 or not attempt.follow_ups


def test_chats_without_reactions_are_learnt_from_after_an_unclear_cycle() -> None:
    attempt = plan([UNCLEAR], LEARN, GATE)
    news = News(judged=0, followed=50_000, since_start=1e6, since_end=1e6)
    start = decide_start(
        news,
        CycleSettings(),
        pause=attempt.pause,
        wanted=attempt.wanted,
        follow_ups=attempt.follow_ups,
    )
    assert start.is_due


def test_an_attempt_changes_the_step_and_the_seed_alone() -> None:
    changed = Attempt(step=0.5, seed=3).change(LEARN)
    assert changed.learning_rate == LEARN.learning_rate / 2
    assert changed.full_learning_rate == LEARN.full_learning_rate / 2
    assert changed.kl_target == LEARN.kl_target / 2
    assert changed.seed == LEARN.seed + 3
    assert Attempt().change(LEARN) == LEARN
