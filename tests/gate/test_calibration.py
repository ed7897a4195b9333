"""When a candidate says nothing: within bounds that hold for its own drafts."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.learn.voters import SOMEBODY

from liveweights.gate.calibration import (
    Asked,
    Calibration,
    Draft,
    calibrate,
    cross_fit,
    is_right,
    may_say_nothing,
    show,
)
from liveweights.gate.scoring import Case, Values
from liveweights.gate.settings import GateSettings
from liveweights.learn.settings import LearnSettings
from liveweights.weights.selection import Selection

VALUES, GATE = Values(), GateSettings()
LEARN = LearnSettings(user_share=1.0, new_share=1.0, key_share=1.0, tenant_share=1.0)


def asked(number: int, sure: float, right: bool, *, their_right: bool | None = None) -> Asked:
    """A case of its own session; the incumbent drafts the same unless it is said what it does."""
    same = right if their_right is None else their_right
    case = Case(str(number), f"s{number}", "good", None, may_be_silent=True, voter=SOMEBODY)
    return Asked(
        case,
        Draft("good" if right else "bad", sure),
        Draft("good" if same else "bad", sure),
    )


def world(count: int, shift: float = 0.0, seed: int = 0) -> list[Asked]:
    """Drafts that are right with probability sigmoid(c + 4); the candidate's confidences are
    shifted."""
    draw = random.Random(seed)
    made: list[Asked] = []
    for number in range(count):
        sure = draw.uniform(-12, 0)
        right = draw.random() < 1 / (1 + math.exp(-sure - 4))
        one = asked(number, sure, right)
        candidate = Draft(one.candidate.text, sure + shift)
        made.append(Asked(one.case, candidate, one.incumbent))
    return made


def run(
    cases: Sequence[Asked], gate: GateSettings = GATE, learn: LearnSettings = LEARN
) -> Calibration:
    return calibrate(cases, None, VALUES, settings=gate, learn=learn)


def shown(cases: Sequence[Asked], selection: Selection | None) -> list[bool]:
    return [bool(show(one.candidate, one.case, selection)) for one in cases]


def test_is_right_as_far_as_anybody_knows() -> None:
    known = Case("g", "s", "x = 1\n")
    assert is_right("x = 1", known) is True
    assert is_right("x = 2", known) is False
    assert is_right("", known) is False
    refused = Case("g", "s", None, rejected="x = 2")
    assert is_right("x = 2 ", refused) is False
    assert is_right("x = 1", refused) is None


def test_silence_has_to_be_welcome_and_worth_something() -> None:
    loud, quiet = Case("g", "s", "x"), Case("g", "s", "x", may_be_silent=True)
    assert not may_say_nothing([loud], LEARN)
    assert may_say_nothing([loud, quiet], LEARN)
    assert not may_say_nothing([quiet], LearnSettings(silence_weight=0.0))


@pytest.mark.parametrize("shift", [-20.0, -5.0, 0.0, 5.0])
def test_it_is_the_candidates_own_confidence_that_decides(shift: float) -> None:
    """An update that moves all confidences changes nothing of what is shown."""
    plain, moved = world(2000), world(2000, shift)
    one, other = run(plain), run(moved)
    assert one.selection is not None
    assert other.selection is not None
    same = [
        a == b
        for a, b in zip(shown(plain, one.selection), shown(moved, other.selection), strict=True)
    ]
    assert sum(same) >= 0.97 * len(same)


def test_both_bounds_hold_by_the_ends_of_their_intervals() -> None:
    cases = world(2000)
    free = run(cases, GateSettings(max_withheld=1.0, keep_accepted=0.0))
    assert free.held_by == "reward"
    assert free.withheld is not None
    assert free.withheld.mean > 0.5
    assert free.kept is not None
    assert free.kept < 0.97
    bounded = run(cases, GateSettings(max_withheld=0.3, keep_accepted=0.0))
    assert bounded.held_by == "withheld"
    assert bounded.withheld is not None
    assert bounded.withheld.high is not None
    assert 0.25 < bounded.withheld.mean < bounded.withheld.high <= 0.3
    keeping = run(cases, GateSettings(max_withheld=1.0, keep_accepted=0.98))
    assert keeping.held_by == "accepted"
    assert keeping.kept is not None
    assert keeping.forgone is not None
    assert 0.01 < keeping.forgone <= 0.02
    assert keeping.kept >= 0.98


@pytest.mark.parametrize("temperature", [0.0, 0.4, 1.0])
def test_no_temperature_loses_more_than_the_bound(temperature: float) -> None:
    """Where fitted slopes are small, chance could withhold drafts far above the threshold."""
    cases = world(2000)
    selection = run(cases, GateSettings(max_withheld=1.0)).selection
    assert selection is not None
    right = [one.candidate.confidence for one in cases if one.candidate.text == "good"]
    lost = sum(
        -math.expm1(selection.logprob(sure, temperature, shown=True))
        if temperature
        else not selection.shows(sure)
        for sure in right
    )
    assert lost <= (1.0 - GATE.keep_accepted) * len(right)


@pytest.mark.parametrize("gate", [GATE, GateSettings(max_withheld=0.3, keep_accepted=0.0)])
def test_requests_that_may_not_be_silent_loosen_no_bound(gate: GateSettings) -> None:
    quiet = world(500)
    loud = [
        replace(
            one, case=replace(one.case, generation=f"l{n}", session=f"l{n}", may_be_silent=False)
        )
        for n, one in enumerate(world(2000, seed=1))
    ]
    alone, beside = run(quiet, gate), run([*quiet, *loud], gate)
    assert alone.selection == beside.selection
    for name in ("held_by", "withheld", "kept", "kept_low", "forgone"):
        assert getattr(alone, name) == getattr(beside, name)


def test_with_thin_evidence_more_is_said() -> None:
    few = run(world(60))
    assert few.selection is None
    assert few.held_by == "accepted"
    assert shown(world(60), few.selection) == [True] * 60


def test_what_more_right_answers_leave_may_be_given_up() -> None:
    """A candidate that is right where the incumbent was not may say less in all."""
    same = world(300)
    better = [
        Asked(one.case, one.candidate, Draft("bad", -1.0)) if n % 3 == 0 else one
        for n, one in enumerate(same)
    ]
    strict = GateSettings(max_withheld=1.0, keep_accepted=0.99)
    none, some = run(same, strict), run(better, strict)
    assert some.kept is not None
    assert none.kept is not None
    assert some.kept > none.kept
    assert sum(shown(better, some.selection)) < sum(shown(same, none.selection))


def test_what_texts_lose_does_not_make_it_talk() -> None:
    """Saying more mends nothing of it, and the gate judges it."""
    same = world(500)
    draw = random.Random(1)
    other = [
        asked(n, one.candidate.confidence, one.candidate.text == "good", their_right=their_right)
        for n, one in enumerate(same)
        for their_right in [one.incumbent.text == "good" or draw.random() < 0.1]
    ]
    found = run(other)
    assert found.kept is not None
    assert found.kept < 0.95
    assert found.withheld is not None
    assert found.withheld.mean > 0.2
    assert found.forgone is not None
    assert found.forgone <= 0.05


def test_what_an_engine_cannot_say_is_not_withheld() -> None:
    cases = [
        Asked(one.case, Draft(one.candidate.text, math.nan), Draft(one.incumbent.text, math.nan))
        for one in world(100)
    ]
    found = run(cases)
    assert found.selection is None
    assert found.candidate_curve == []


def test_a_higher_price_of_interruptions_says_less() -> None:
    cases = world(2000)
    free = GateSettings(max_withheld=1.0, keep_accepted=0.0)
    shares = [
        sum(shown(cases, run(cases, free, LearnSettings(silence_weight=weight)).selection))
        for weight in (0.1, 1.0, 10.0)
    ]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[2]


def test_the_curves_run_from_nothing_to_everything() -> None:
    found = run(world(300))
    for curve in (found.candidate_curve, found.incumbent_curve):
        assert curve[0] == (0.0, 0.0)
        assert curve[-1][0] == 1.0
        assert [y for _, y in curve] == sorted(y for _, y in curve)
        assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in curve)


confidences = st.floats(-40, 0)
some_cases = st.lists(
    st.tuples(confidences, st.booleans(), st.booleans()), min_size=1, max_size=60
).map(lambda rows: [asked(n, c, r, their_right=t) for n, (c, r, t) in enumerate(rows)])


@given(some_cases, st.floats(0, 1), st.floats(0, 1))
@settings(deadline=None, max_examples=50)
def test_whatever_the_drafts_are_the_bounds_hold_or_everything_is_said(
    cases: list[Asked], most: float, keep: float
) -> None:
    gate = GateSettings(max_withheld=most, keep_accepted=keep)
    found = run(cases, gate)
    if found.selection is None:
        return
    assert found.withheld is not None
    assert found.withheld.high is not None
    assert found.withheld.high <= most
    assert found.forgone is not None
    kept = found.kept_low is None or found.kept_low >= min(keep, 1.0) - 1e-4
    assert keep == 0 or kept or found.forgone <= 1.0 - keep


@given(some_cases)
@settings(deadline=None, max_examples=30)
def test_cross_fitting_says_at_least_what_the_bounds_ask_for(cases: list[Asked]) -> None:
    gate = GateSettings(max_withheld=0.4, keep_accepted=0.0)
    found = run(cases, gate)
    decided = cross_fit(cases, None, found.selection, values=VALUES, learn=LEARN)
    assert len(decided) == len(cases)
    if found.selection is None:
        assert all(decided)


def test_cross_fitting_does_not_let_a_draft_decide_about_itself() -> None:
    """One certain and wrong draft among right ones: its own loss would silence it."""
    cases = [asked(n, -1.0, right=True) for n in range(40)]
    learn = LearnSettings(silence_weight=1000.0, user_share=1.0, new_share=1.0)
    odd = asked(40, -30.0, right=False)
    free = GateSettings(max_withheld=1.0, keep_accepted=0.0)
    chosen = calibrate([*cases, odd], None, VALUES, settings=free, learn=learn).selection
    decided = cross_fit([*cases, odd], None, chosen, values=VALUES, learn=learn)
    assert decided[-1] or not shown([odd], chosen)[0]
