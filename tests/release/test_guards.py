from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from liveweights.gate.settings import GateSettings
from liveweights.release.guards import COUNT, Answer, Answers, pair, watch_answers
from liveweights.release.settings import CanarySettings

SETTINGS = CanarySettings(unit="reward")
GATE = GateSettings()


def answers(
    rng: np.random.Generator,
    count: int,
    *,
    failed: float = 0.0,
    slower: float = 1.0,
    silent: float = 0.3,
    longer: float = 1.0,
    repeats: bool = False,
    share: float = 0.5,
) -> list[Answer]:
    """One answer per second; what is said holds for the canary, the live one is healthy."""
    made: list[Answer] = []
    for at in range(count):
        canary = rng.random() < share
        size = rng.lognormal(3, 0.6) * (longer if canary else 1)
        text = ("a b c d " * 40 if repeats and canary else " ".join(map(str, range(200))))[
            : max(1, int(size))
        ]
        made.append(
            Answer(
                arm="canary" if canary else "live",
                session=None,
                at=float(at),
                failed=bool(canary and rng.random() < failed),
                cancelled=False,
                seconds=float(rng.lognormal(-1, 0.8) * (slower if canary else 1)),
                text="" if rng.random() < (silent if canary else 0.3) else text,
            )
        )
    return made


def broken(made: list[Answer], settings: CanarySettings = SETTINGS) -> set[str]:
    guards = watch_answers(Answers(made), float(len(made)), settings, GATE)
    assert len(guards) == COUNT
    return {guard.name for guard in guards if guard.broken}


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        ({"failed": 0.5}, "errors"),
        ({"slower": 4.0}, "latency"),
        ({"silent": 1.0}, "silence"),
        ({"longer": 0.1}, "length"),
        ({"longer": 10.0}, "length"),
        ({"repeats": True, "longer": 3.0}, "repetition"),
    ],
)
def test_each_harm_is_found_and_named(harm: dict[str, float], named: str) -> None:
    assert named in broken(answers(np.random.default_rng(0), 400, **harm))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bearable", [{}, {"failed": 0.01}, {"slower": 1.4}, {"silent": 0.6}, {"longer": 1.5}]
)
def test_what_is_within_bounds_is_borne_however_often_one_looks(bearable) -> None:
    runs, alarms = 25, 0
    for seed in range(runs):
        # `e_value` is the largest so far: one look at the end is a look after every answer.
        alarms += bool(broken(answers(np.random.default_rng(seed), 100, **bearable)))
    assert alarms / runs <= 0.05


def test_a_canary_that_always_fails_is_found_after_a_handful_of_answers() -> None:
    made = answers(np.random.default_rng(1), 1000, failed=1.0, share=0.05)
    until = next(k for k in range(20, 1001, 20) if "errors" in broken(made[:k]))
    assert sum(a.arm == "canary" for a in made[:until]) <= 30


def test_one_answer_that_took_for_ever_is_one_answer() -> None:
    made = answers(np.random.default_rng(2), 300)
    made.append(Answer("canary", None, 301.0, False, False, 1e6, "x"))
    assert not broken(made)


def test_sessions_count_once_where_sessions_are_the_unit() -> None:
    by_session = msgspec.structs.replace(SETTINGS, unit="session", session_rewards=100)
    slow = [
        Answer(arm, f"{arm}-{n % 2}", float(n), False, False, took, "x")
        for n in range(200)
        for arm, took in (("canary", 9.0), ("live", 1.0))
    ]
    guards = {g.name: g for g in watch_answers(Answers(slow), 200.0, by_session, GATE)}
    assert guards["latency"].comparisons <= 2
    assert not guards["latency"].broken
    assert guards["latency"].canary == pytest.approx(9.0)


def test_a_shadow_is_compared_request_by_request() -> None:
    rng = np.random.default_rng(3)
    made: list[Answer] = []
    for at in range(60):
        took = float(rng.lognormal(0, 2))  # requests differ far more than checkpoints
        live = Answer("live", "s", float(at), False, False, took, "x = 1")
        shadow = Answer("canary", "t", 0.0, False, False, took * 1.7, "x = 2")
        made += pair(live, shadow)
    guards = {g.name: g for g in watch_answers(Answers(made), 60.0, SETTINGS, GATE)}
    assert guards["latency"].comparisons == 60
    assert guards["latency"].broken


def test_nothing_is_broken_by_no_answers() -> None:
    for guard in watch_answers(Answers(), 1e9, SETTINGS, GATE):
        assert guard.e_value == 1.0
        assert "nothing live, nothing canary" in guard.describe()


def test_an_alarm_is_not_taken_back() -> None:
    bad = answers(np.random.default_rng(4), 300, slower=5.0)
    good = [Answer(a.arm, None, a.at + 300, False, False, 1.0, "x") for a in bad]
    assert "latency" in broken(bad)
    assert "latency" in broken([*bad, *good])
    assert math.isfinite(max(g.e_value for g in watch_answers(Answers(bad), 300.0, SETTINGS, GATE)))
