from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.release.audience import Crowd
from liveweights.release.rollout import (
    IllegalMove,
    Rollout,
    apply,
    begin,
    first_step,
    locate,
    shares,
)
from liveweights.release.settings import CanarySettings

SETTINGS = CanarySettings(steps=(0.05, 0.25, 0.5), step_rewards=10, step_seconds=30.0)


def test_after_the_last_step_there_is_none_and_after_the_end_nothing() -> None:
    with pytest.raises(IllegalMove, match="last step"):
        apply(Rollout("canary", 2), "step", SETTINGS)
    ended = apply(begin(SETTINGS), "rollback", SETTINGS)
    with pytest.raises(IllegalMove, match="rolled_back"):
        apply(ended, "promote", SETTINGS)


def test_steps_must_rise() -> None:
    for steps in ((0.5, 0.25), (0.1, 0.1)):
        with pytest.raises(ValueError, match="steps must rise"):
            CanarySettings(steps=steps)


@given(
    st.sampled_from([Rollout("canary", s, h) for s in range(3) for h in (False, True)])
    | st.booleans().map(lambda held: Rollout("shadow", 0, held))
)
def test_an_alias_row_says_where_the_candidate_stands(rollout: Rollout) -> None:
    with_shadow = msgspec.structs.replace(SETTINGS, shadow=0.3)
    share, shadow = shares(rollout, with_shadow)
    assert locate(share, shadow, rollout.held, with_shadow) == rollout


def test_a_share_that_is_no_step_any_more_is_the_step_below() -> None:
    assert locate(0.3, 0.0, False, SETTINGS) == Rollout("canary", 1)
    assert locate(0.01, 0.0, False, SETTINGS) == Rollout("canary", 0)


@pytest.mark.parametrize(
    ("per_hour", "step"),
    # A step takes 600 s at most and wants 10 rewards: with 5%, 20 answers a minute bring them.
    [(0.0, 2), (80.0, 2), (120.0, 2), (300.0, 1), (1200.0, 0), (1e6, 0)],
)
def test_a_canary_among_few_begins_where_its_rewards_can_come_in_time(
    per_hour: float, step: int
) -> None:
    crowd = Crowd(sessions=1, answers_per_second=per_hour / 3600)
    assert first_step(crowd, SETTINGS) == step
    assert begin(SETTINGS, step) == Rollout("canary", step)
    assert begin(msgspec.structs.replace(SETTINGS, shadow=0.5), step).stage == "shadow"
