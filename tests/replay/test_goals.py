from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.gate.settings import GateSettings
from liveweights.learn.settings import LearnSettings
from liveweights.replay.goals import Goal, chat_goals, completion_goals, largest

figures = st.floats(-2, 2)
BOUNDS = LearnSettings(), GateSettings()
CYCLE: dict[str, Any] = {"taught": 9, "divergence": 0.05, "withheld": 0.3}


def estimate(mean: float | None, low: float | None) -> dict[str, float | None]:
    return {"mean": mean, "low": low, "high": None if mean is None else mean + 1}


def good() -> dict[str, dict[str, float | None]]:
    return {
        "accept_rate": estimate(0.9, 0.3),
        "shown": estimate(-0.4, -0.5),
        "accepted": estimate(0.0, -0.05),
    }


def test_all_is_met_or_exactly_what_is_missed() -> None:
    assert all(goal.met for goal in completion_goals(good(), [CYCLE, CYCLE], *BOUNDS))
    worse: list[tuple[int, dict[str, Any], list[dict[str, Any]]]] = [
        (0, {"accept_rate": estimate(0.9, 0.27)}, [CYCLE]),
        (1, {"shown": estimate(-0.2, -0.5)}, [CYCLE]),
        (2, {"accepted": estimate(0.0, -0.11)}, [CYCLE]),
        (3, {}, [CYCLE, CYCLE | {"divergence": 0.41}]),
        (4, {}, [CYCLE | {"withheld": 0.67}, CYCLE]),
        (4, {}, [CYCLE | {"withheld": None}, CYCLE]),
        (2, {"accepted": estimate(None, None)}, [CYCLE]),
    ]
    for missed, changes, cycles in worse:
        goals = completion_goals(good() | changes, cycles, *BOUNDS)
        assert [n for n, goal in enumerate(goals) if not goal.met] == [missed]


def test_bounds_are_those_of_the_settings() -> None:
    learn, gate = LearnSettings(kl_target=0.04), GateSettings(max_withheld=0.2)
    assert [g.met for g in completion_goals(good(), [CYCLE], learn, gate)[3:]] == [False, False]


def test_chats_may_not_forget_what_nobody_asks_for() -> None:
    part = {"right": estimate(0.1, 0.02)}
    worse = {"right": estimate(0.0, -0.06)}
    assert all(goal.met for goal in chat_goals(part, part, [CYCLE], LearnSettings()))
    met = [goal.met for goal in chat_goals(part, worse, [CYCLE], LearnSettings())]
    assert met == [True, False, True]


@given(figures, figures, st.booleans())
def test_a_goal_is_met_on_its_side_of_the_bound(figure: float, bound: float, up: bool) -> None:
    goal = Goal("g", figure, bound, up)
    assert goal.met == (figure >= bound if up else figure <= bound)
    assert goal.as_dict()["met"] == goal.met
    assert not Goal("g", None, bound, up).met


@given(st.lists(figures, min_size=1))
def test_the_worst_cycle_counts(values: list[float]) -> None:
    cycles: list[dict[str, Any]] = [{"taught": 1, "withheld": value} for value in values]
    idle: dict[str, Any] = {"taught": 0, "withheld": None}
    assert largest([*cycles, idle], "withheld") == pytest.approx(max(values))
    assert largest([*cycles, {"taught": 1, "withheld": None}], "withheld") is None
    assert largest([idle], "withheld") is None
