from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.gate.evalues import interval, wealth
from liveweights.release.canary import Arm, Reward, compare, compare_arms, count_units
from liveweights.release.decision import Decision, decide_by_rewards
from liveweights.release.settings import CanarySettings

SETTINGS = CanarySettings(lowest=-0.25, highest=0.75, margin=0.1, unit="reward")
BY_SESSION = msgspec.structs.replace(SETTINGS, unit="session", session_rewards=4)
WIDTH = 1.0


def stream(
    rng: np.random.Generator, canary: float, live: float, count: int, share: float = 0.5
) -> list[Reward]:
    """One reward per second, accepted with the chance of its arm."""
    arms = rng.random(count) < share
    accepted = rng.random(count) < np.where(arms, canary, live)
    return [
        Reward("canary" if arm else "live", None, 0.75 if yes else -0.25, float(at))
        for at, (arm, yes) in enumerate(zip(arms, accepted, strict=True))
    ]


def in_sessions(
    rng: np.random.Generator, canary: float, live: float, sessions: int
) -> list[Reward]:
    """Sessions of 4 rewards that are much alike: half of them are hopeless."""
    rewards: list[Reward] = []
    for number in range(sessions):
        arm = "canary" if rng.random() < 0.5 else "live"
        chance = 2 * (canary if arm == "canary" else live) * (rng.random() < 0.5)
        for k in range(4):
            value = 0.75 if rng.random() < chance else -0.25
            rewards.append(Reward(arm, f"s{number}", value, number * 4.0 + k))
    return rewards


def decide(rewards: list[Reward], seconds: float, settings: CanarySettings) -> Decision:
    return decide_by_rewards(compare_arms(rewards, seconds, settings), settings)


def differences(rng: np.random.Generator, canary: float, live: float, runs: int, pairs: int):
    ours = rng.random((runs, pairs)) < canary
    return ours.astype(float) - (rng.random((runs, pairs)) < live)


@pytest.mark.parametrize("accepts", [0.05, 0.25, 0.5])
def test_an_equal_canary_is_rolled_back_at_most_at_the_nominal_rate_however_often_one_looks(
    accepts: float,
) -> None:
    values = differences(np.random.default_rng(0), accepts, accepts, runs=2000, pairs=400)
    peaks = wealth(-values, 0.0, WIDTH).max(axis=-1)
    assert (peaks >= math.log(20)).mean() <= 0.05


@pytest.mark.parametrize("live", [0.25, 0.5, 0.95])
def test_a_canary_worse_by_the_margin_is_promoted_early_at_most_at_the_nominal_rate(
    live: float,
) -> None:
    values = differences(np.random.default_rng(1), live - 0.1, live, runs=2000, pairs=400)
    peaks = wealth(values, -0.1, WIDTH).max(axis=-1)
    assert (peaks >= math.log(20)).mean() <= 0.05


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=50), st.floats(-0.9, 0.9))
def test_betting_never_goes_broke_and_is_fair_on_average(values: list[float], mean: float) -> None:
    grown = wealth(np.array(values), mean, WIDTH)
    assert np.isfinite(grown).all()
    # One step from a two-point law with that very mean: expected wealth is one.
    up = (mean + 1) / 2
    steps = np.exp(
        [wealth(np.array([1.0]), mean, WIDTH)[0], wealth(np.array([-1.0]), mean, WIDTH)[0]]
    )
    assert up * steps[0] + (1 - up) * steps[1] == pytest.approx(1, abs=1e-9)


def test_decisions_of_whole_streams_keep_their_rates_and_find_what_is_there() -> None:
    rng = np.random.default_rng(2)
    open_end = msgspec.structs.replace(SETTINGS, max_rewards=10**6, max_seconds=1e9)

    def share(canary: float, live: float, action: str, runs: int) -> float:
        results = [decide(stream(rng, canary, live, 400), 400, open_end) for _ in range(runs)]
        return sum(result.action == action for result in results) / runs

    assert share(0.3, 0.3, "ROLLBACK", 100) <= 0.1
    assert share(0.05, 0.3, "ROLLBACK", 40) >= 0.9
    assert share(0.6, 0.3, "PROMOTE", 40) >= 0.9


def test_sessions_that_are_alike_do_not_raise_false_alarms() -> None:
    rng = np.random.default_rng(3)
    runs, alarms = 500, 0
    for _ in range(runs):
        units = count_units(in_sessions(rng, 0.4, 0.4, 60), 1e9, BY_SESSION)
        alarms += wealth(-compare(units), 0.0, WIDTH).max() >= math.log(20)
    assert alarms / runs <= 0.05


@pytest.mark.parametrize(("change", "action"), [(0.0, "PROMOTE"), (-0.5, "ROLLBACK")])
def test_sessions_that_last_are_weighed_at_the_limit_in_both_arms(
    change: float, action: str
) -> None:
    """Users who differ and go on all day: a step moves nearly all of them, and none is compared."""
    rng = np.random.default_rng(8)
    settings = msgspec.structs.replace(BY_SESSION, max_seconds=1000)
    rewards: list[Reward] = []
    for user in range(40):
        usual, moves = rng.uniform(0, 0.7), 300 if user % 2 else math.inf
        for at in range(user % 20, 1000, 20):
            arm: Arm = "canary" if at >= moves else "live"
            chance = usual + (change if arm == "canary" else 0.0)
            rewards.append(Reward(arm, f"u{user}", 0.75 if rng.random() < chance else -0.25, at))
    decision = decide(rewards, 1000, settings)
    assert decision.numbers.comparisons == 0
    assert decision.numbers.difference == pytest.approx(max(change, -0.35), abs=0.1)
    assert decision.action == action


def test_the_confidence_sequence_holds_the_truth_at_every_look() -> None:
    rng = np.random.default_rng(4)
    runs, missed = 60, 0
    for values in differences(rng, 0.35, 0.25, runs, 150):
        low, high = interval(values, 0.05, WIDTH)
        missed += not low <= 0.1 <= high
        assert -1 <= low < high <= 1
    assert missed / runs <= 0.05
    assert interval(np.array([]), 0.05, WIDTH) == (-1.0, 1.0)


def test_a_worse_canary_is_rolled_back_with_its_numbers() -> None:
    rewards = stream(np.random.default_rng(5), 0.0, 0.6, 200)
    decision = decide(rewards, 200, SETTINGS)
    assert decision.action == "ROLLBACK"
    assert "worse than live: e-value" in decision.reason
    numbers = decision.numbers
    assert numbers.worse >= numbers.needed == 20
    assert numbers.canary_rewards + numbers.live_rewards == 200
    assert numbers.high < 0
    assert numbers.difference == pytest.approx(-0.6, abs=0.1)
    assert msgspec.json.decode(msgspec.json.encode(decision))["action"] == "ROLLBACK"


def test_a_decision_is_not_taken_back_by_later_rewards() -> None:
    bad = stream(np.random.default_rng(6), 0.0, 0.7, 150)
    good = [Reward(r.arm, None, 0.75 if r.arm == "canary" else -0.25, r.at + 150) for r in bad]
    assert decide(bad, 150, SETTINGS).action == "ROLLBACK"
    assert decide([*bad, *good], 300, SETTINGS).action == "ROLLBACK"


def test_at_the_limit_the_gates_pass_counts_unless_the_mean_is_worse_by_the_margin() -> None:
    def at_limit(canary_accepts: int, **changes: object):
        pattern = [0.75] * canary_accepts + [-0.25] * (10 - canary_accepts)
        rewards = [
            Reward(arm, None, value, float(at))
            for at, (ours, theirs) in enumerate(zip(pattern, [0.75] * 5 + [-0.25] * 5, strict=True))
            for arm, value in (("canary", ours), ("live", theirs))
        ]
        settings = msgspec.structs.replace(SETTINGS, max_seconds=60.0, min_rewards=5, **changes)
        return decide(rewards, 60.0, settings)

    assert at_limit(5).action == "PROMOTE"
    assert "without evidence of harm" in at_limit(5).reason
    assert at_limit(3).action == "ROLLBACK"
    assert "-0.1 is allowed" in at_limit(3).reason
    assert at_limit(5, at_limit="abort").action == "ROLLBACK"


def test_without_live_evidence_nothing_is_promoted() -> None:
    decision = decide([], 1e9, SETTINGS)
    assert decision.action == "ROLLBACK"
    assert "limit reached with 0 rewards" in decision.reason
    assert decide([], 1.0, SETTINGS).action == "CONTINUE"
    one_arm = [Reward("canary", None, 0.75, float(k)) for k in range(30)]
    assert decide(one_arm, 1e9, SETTINGS).action == "ROLLBACK"


def test_where_reactions_are_rare_the_canary_goes_on_until_they_came() -> None:
    settings = msgspec.structs.replace(SETTINGS, max_seconds=100.0, longest_seconds=5000.0)
    both: list[Arm] = ["canary", "live"]
    rare = [Reward(arm, None, 0.75, 60.0 * n) for n in range(30) for arm in both]
    few = settings.min_rewards - 1
    assert decide(rare[: 2 * few], 4999.0, settings).action == "CONTINUE"
    assert decide(rare[: 2 * few], 5000.0, settings).action == "ROLLBACK"
    assert decide(rare[: 2 * few + 2], 60.0 * few, settings).action == "PROMOTE"
    assert decide(rare[: 2 * few + 2], 99.0, settings).action == "CONTINUE"


def test_the_limit_of_rewards_ends_the_canary() -> None:
    settings = msgspec.structs.replace(SETTINGS, max_rewards=30)
    rewards = stream(np.random.default_rng(7), 0.5, 0.5, 100)
    assert decide(rewards, 5.0, settings).action != "CONTINUE"


def test_sessions_close_by_number_or_by_idleness_and_stay_closed() -> None:
    settings = msgspec.structs.replace(BY_SESSION, session_rewards=2, session_idle=10.0)
    rewards = [
        Reward("canary", "a", 0.75, 0.0),
        Reward("live", "b", 0.75, 1.0),
        Reward("canary", "a", -0.25, 2.0),  # closes a
        Reward("canary", "a", 0.75, 3.0),  # not counted
        Reward("live", "b", -0.25, 20.0),  # too late: b closed at 11
        Reward("live", "c", 0.75, 21.0),  # open
    ]
    units = count_units(rewards, 25.0, settings)
    assert [(unit.arm, unit.value) for unit in units] == [("canary", 0.25), ("live", 0.75)]
    assert len(count_units(rewards, 32.0, settings)) == 3


@given(st.integers(0, 2**32 - 1), st.integers(0, 60))
def test_units_that_were_seen_never_change(seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    settings = msgspec.structs.replace(BY_SESSION, session_rewards=3, session_idle=7.0)
    rewards = [
        Reward("canary" if rng.random() < 0.5 else "live", f"s{rng.integers(9)}", 0.5, float(at))
        for at in range(60)
    ]
    early = count_units(rewards[: cut + 1], float(cut), settings)
    assert count_units(rewards, 59.0, settings)[: len(early)] == early


def test_a_small_share_is_compared_with_all_live_units_of_its_time() -> None:
    rewards = [Reward("live", None, v, at) for at, v in enumerate([0.75, -0.25, 0.75, -0.25])]
    rewards.append(Reward("canary", None, 0.75, 9.0))
    assert compare(count_units(rewards, 10.0, SETTINGS)).tolist() == [0.5]


@given(st.lists(st.tuples(st.sampled_from(["live", "canary"]), st.floats(-1.0, 1.0)), max_size=30))
def test_rewards_out_of_range_count_as_its_ends(found: list[tuple[Arm, float]]) -> None:
    given = [Reward(arm, None, value, float(at)) for at, (arm, value) in enumerate(found)]
    within = [replace(one, value=min(max(one.value, -0.25), 0.75)) for one in given]
    assert compare_arms(given, 99.0, SETTINGS) == compare_arms(within, 99.0, SETTINGS)


def test_a_range_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="must be below"):
        CanarySettings(lowest=1.0, highest=0.0)
    with pytest.raises(ValueError, match="margin"):
        CanarySettings(lowest=0.0, highest=1.0, margin=1.0)
