from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from liveweights.config import Config
from liveweights.replay.plan import (
    cycle_seconds,
    forecast,
    is_enough,
    make_plan,
    service_settings,
)
from liveweights.replay.speed import Speed

single = st.floats(1e9, 1e13)
gains = st.floats(1.0, 64.0)


@st.composite
def speeds(draw: st.DrawFn) -> Speed:
    one = draw(single)
    return Speed(threads=draw(st.integers(1, 64)), flops=one * draw(gains), single=one)


@given(speeds())
def test_a_plan_has_enough_to_decide_and_no_more_than_it_can_use(speed: Speed) -> None:
    plan = make_plan(speed)
    assert 36 <= plan.train <= 120
    assert plan.train < plan.cases <= 150
    # Of the requests, the share that is not held back is what is learnt from.
    assert plan.requests * 0.4 <= plan.train <= plan.requests * 0.4 + 1
    assert plan.threads == speed.threads


@given(speeds(), gains)
def test_a_faster_machine_learns_from_no_less(speed: Speed, gain: float) -> None:
    faster = Speed(threads=speed.threads, flops=speed.flops * gain, single=speed.single * gain)
    assert make_plan(faster).train >= make_plan(speed).train


@given(speeds(), st.floats(0.1, 50.0), st.integers(12, 240), st.integers(1, 5))
def test_a_forecast_adds_up(speed: Speed, rate: float, positions: int, cycles: int) -> None:
    plan = make_plan(speed)
    expected = forecast(plan, rate, positions, cycles)
    assert 0 < cycle_seconds(plan, rate) < expected.first <= expected.end
    assert forecast(plan, 2 * rate, positions, cycles).end < expected.end


@given(speeds())
def test_the_settings_are_settings_of_the_service(speed: Speed) -> None:
    config = msgspec.convert(service_settings(make_plan(speed)), Config)
    assert config.learn.held_back_share == 0.6


def test_enough_is_half_a_minute_and_what_evidence_needs() -> None:
    assert not is_enough(71, 1000.0, 72)
    assert not is_enough(200, 3.0, 72)
    assert is_enough(72, 60.0, 72)
