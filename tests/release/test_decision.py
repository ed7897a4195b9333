from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from liveweights.release.canary import Comparison, compare_arms
from liveweights.release.decision import Look, decide, decide_by_rewards
from liveweights.release.guards import Guard
from liveweights.release.rollout import IllegalMove, Rollout, apply, begin, shares
from liveweights.release.settings import CanarySettings

SETTINGS = CanarySettings(steps=(0.05, 0.25, 0.5), step_rewards=10, step_seconds=30.0)
NUMBERS = compare_arms([], 1.0, SETTINGS).numbers
ENOUGH = msgspec.structs.replace(NUMBERS, canary_rewards=SETTINGS.min_rewards, difference=0.0)


def comparison(action: str, proven: bool) -> Comparison:
    """One that comes to the action, by proof or at the limit."""
    match action, proven:
        case "PROMOTE", True:
            return Comparison("not worse", False, NUMBERS)
        case "ROLLBACK", True:
            return Comparison("worse", False, NUMBERS)
        case "PROMOTE", False:
            return Comparison(None, True, ENOUGH)
        case "ROLLBACK", False:
            return Comparison(None, True, NUMBERS)
        case _:
            return Comparison(None, False, NUMBERS)


def guard(broken: bool) -> Guard:
    return Guard(
        name="errors",
        canary=0.5,
        live=0.0,
        comparisons=9,
        e_value=1000.0 if broken else 1.0,
        needed=500.0,
        bound="a rise of 2% is allowed",
    )


def look(action: str = "CONTINUE", proven: bool = False, broken: bool = False, **more) -> Look:
    figures = {"step_rewards": 0, "step_seconds": 0.0, **more}
    return Look(comparison(action, proven), (guard(broken),), **figures)


DONE = {"step_rewards": 10, "step_seconds": 30.0}


def test_without_harm_it_goes_up_step_by_step_and_proof_promotes_from_the_last() -> None:
    rollout, seen = begin(SETTINGS), []
    while not rollout.ended:
        seen.append(shares(rollout, SETTINGS)[0])
        action = decide(rollout, look("PROMOTE", proven=True), SETTINGS).action
        rollout = apply(rollout, action, SETTINGS)
    assert seen == [0.05, 0.25, 0.5]
    assert rollout.stage == "promoted"


def test_a_step_needs_its_time_and_its_rewards_or_all_the_time_that_it_has() -> None:
    rollout = begin(SETTINGS)
    for figures, action in [
        ({"step_rewards": 9, "step_seconds": 100.0}, "wait"),
        ({"step_rewards": 10, "step_seconds": 29.0}, "wait"),
        ({"step_rewards": 10, "step_seconds": 30.0}, "step"),
        ({"step_rewards": 0, "step_seconds": SETTINGS.max_seconds / 3}, "step"),
    ]:
        assert decide(rollout, look(**figures), SETTINGS).action == action
    assert decide(Rollout("canary", 2), look(**DONE), SETTINGS).action == "wait"


def test_a_broken_guard_says_which_and_ends_it_even_when_held() -> None:
    for rollout in (begin(SETTINGS), Rollout("shadow"), Rollout("canary", 2, held=True)):
        move = decide(rollout, look("PROMOTE", proven=True, broken=True), SETTINGS)
        assert move.action == "rollback"
        assert "errors: 0 live, 0.5 canary; a rise of 2% is allowed" in move.reason


def test_a_hold_stops_everything_but_proven_harm() -> None:
    held = apply(begin(SETTINGS), "hold", SETTINGS)
    for harmless in (
        look("PROMOTE", proven=True),
        look("PROMOTE"),
        look("ROLLBACK"),
        look(**DONE),
    ):
        assert decide(held, harmless, SETTINGS).action == "wait"
    assert decide(held, look("ROLLBACK", proven=True), SETTINGS).action == "rollback"
    freed = apply(held, "resume", SETTINGS)
    assert decide(freed, look(**DONE), SETTINGS).action == "step"


def test_a_shadow_is_seen_by_nobody_and_becomes_a_canary() -> None:
    with_shadow = msgspec.structs.replace(SETTINGS, shadow=0.2, shadow_answers=5)
    rollout = begin(with_shadow)
    assert shares(rollout, with_shadow) == (0.0, 0.2)
    assert decide(rollout, look(step_rewards=4), with_shadow).action == "wait"
    assert decide(rollout, look(step_seconds=1e6), with_shadow).action == "step"
    move = decide(rollout, look(step_rewards=5), with_shadow)
    assert move.action == "step"
    assert shares(apply(rollout, move.action, with_shadow), with_shadow) == (0.05, 0.0)


def test_the_limit_decides_from_any_step() -> None:
    for step in range(3):
        rollout = Rollout("canary", step)
        assert decide(rollout, look("PROMOTE"), SETTINGS).action == "promote"
        assert decide(rollout, look("ROLLBACK"), SETTINGS).action == "rollback"


def test_after_the_end_nothing_is_decided() -> None:
    ended = apply(begin(SETTINGS), "rollback", SETTINGS)
    with pytest.raises(IllegalMove, match="rolled_back"):
        decide(ended, look(), SETTINGS)


def test_what_no_instance_can_load_ends_whatever_it_earns() -> None:
    for rollout in (begin(SETTINGS), Rollout("shadow"), Rollout("canary", 2, held=True)):
        move = decide(rollout, look("PROMOTE", proven=True, unservable="one: no memory"), SETTINGS)
        assert (move.action, move.reason) == ("rollback", "it cannot be served: one: no memory")


@pytest.mark.parametrize(
    ("action", "proven"),
    [("PROMOTE", True), ("PROMOTE", False), ("ROLLBACK", True), ("ROLLBACK", False)],
)
def test_rewards_alone_come_to_their_decision(action: str, proven: bool) -> None:
    decision = decide_by_rewards(comparison(action, proven), SETTINGS)
    assert (decision.action, decision.proven) == (action, proven)
    assert decide_by_rewards(comparison("CONTINUE", False), SETTINGS).action == "CONTINUE"


class Rollouts(RuleBasedStateMachine):
    """Every order of looks and hands, against what must hold of a rollout whatever happens."""

    @initialize(
        steps=st.lists(st.sampled_from([0.01, 0.05, 0.2, 0.5, 1.0]), min_size=1, unique=True),
        shadow=st.sampled_from([0.0, 0.3]),
    )
    def start(self, steps: list[float], shadow: float) -> None:
        self.settings = CanarySettings(steps=tuple(sorted(steps)), shadow=shadow)
        self.rollout = begin(self.settings)
        self.path = [self.rollout]
        self.by_hand = False
        self.harmed = False

    def go(self, action) -> None:
        self.rollout = apply(self.rollout, action, self.settings)
        self.path.append(self.rollout)

    @precondition(lambda self: not self.rollout.ended)
    @rule(
        action=st.sampled_from(["PROMOTE", "ROLLBACK", "CONTINUE"]),
        proven=st.booleans(),
        broken=st.booleans(),
        rewards=st.integers(0, 100),
        seconds=st.floats(0, 4000),
    )
    def look(self, action: str, proven: bool, broken: bool, rewards: int, seconds: float) -> None:
        before = self.rollout
        seen = look(action, proven, broken, step_rewards=rewards, step_seconds=seconds)
        move = decide(before, seen, self.settings)
        assert move.reason
        harm = broken or (action == "ROLLBACK" and proven)
        if harm:
            assert move.action == "rollback"
        elif before.held:
            assert move.action == "wait"
        if move.action == "promote":
            last = before.step == len(self.settings.steps) - 1
            assert action == "PROMOTE"
            assert before.stage == "canary"
            assert last or not proven
        self.harmed |= harm
        self.go(move.action)

    @precondition(lambda self: not self.rollout.ended)
    @rule(held=st.booleans())
    def hold_or_resume(self, held: bool) -> None:
        self.go("hold" if held else "resume")
        assert self.rollout.held == held

    @precondition(lambda self: not self.rollout.ended)
    @rule(action=st.sampled_from(["promote", "rollback", "step"]))
    def override(self, action) -> None:
        try:
            self.go(action)
        except IllegalMove:
            assert action == "step"
            assert self.rollout.step == len(self.settings.steps) - 1
        else:
            self.by_hand = True

    @precondition(lambda self: self.rollout.ended)
    @rule(action=st.sampled_from(["wait", "step", "promote", "rollback", "hold", "resume"]))
    def nothing_follows_the_end(self, action) -> None:
        with pytest.raises(IllegalMove):
            apply(self.rollout, action, self.settings)
        with pytest.raises(IllegalMove):
            decide(self.rollout, look(), self.settings)

    @invariant()
    def holds_always(self) -> None:
        if not hasattr(self, "path"):
            return
        told = [shares(rollout, self.settings) for rollout in self.path]
        running = [share for (share, _), r in zip(told, self.path, strict=True) if not r.ended]
        assert running == sorted(running), "a share never falls while the canary runs"
        for (share, shadow), rollout in zip(told, self.path, strict=True):
            assert not (share and shadow)
            match rollout.stage:
                case "shadow":
                    assert (share, shadow) == (0.0, self.settings.shadow)
                case "canary":
                    assert share == self.settings.steps[rollout.step]
                case "promoted":
                    assert share == 1.0
                case "rolled_back":
                    assert (share, shadow) == (0.0, 0.0)
        if self.harmed and not self.by_hand:
            assert self.rollout.stage == "rolled_back"
        assert sum(rollout.ended for rollout in self.path) <= 1, "it ends once"
        steps = [r.step for r in self.path if r.stage == "canary"]
        assert all(b - a in (0, 1) for a, b in itertools.pairwise(steps))


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
