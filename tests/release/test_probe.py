from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.release.scripted import ScriptedEngine

from liveweights.release.probe import (
    Compared,
    ProbeReport,
    fit_acting,
    judge,
    probe,
)
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.probes import Probe, Probes

NAME = "x@000000000000"
TRAINED = {token: -1.0 - token / 10 for token in range(10)}
BASE = {token: value - 0.5 for token, value in TRAINED.items()}
PROBES = Probes([Probe([1, 2], [(token, TRAINED[token], BASE[token]) for token in TRAINED])])


def ask(
    top: dict[int, float], kind: str = "adapter", probes: Probes | None = PROBES
) -> ProbeReport:
    async def go() -> ProbeReport:
        engine = ScriptedEngine({NAME: top})
        checkpoint = Checkpoint(NAME, kind, Path("/nowhere"), base="b@0")  # type: ignore[arg-type]
        await engine.load(checkpoint)
        return await probe(engine, checkpoint, probes)

    return asyncio.run(go())


def test_an_engine_that_computes_what_was_trained_is_accepted() -> None:
    report = ask({token: value + 0.03 for token, value in TRAINED.items()})
    assert report.ok
    assert report.error_to_trainer == pytest.approx(0.03)
    assert report.distance_to_base == pytest.approx(0.53)
    assert report.expected_distance == pytest.approx(0.5)
    assert report.compared == 10


def test_an_adapter_that_does_nothing_is_refused_by_its_distance() -> None:
    report = ask(BASE)
    assert not report.ok
    assert report.distance_to_base == 0


def rows(acting: float, difference: float, rounding: float, probes: int = 12) -> list[Compared]:
    """Figures of an engine that rounds and that shows this share of the difference."""
    rng = np.random.default_rng(0)
    made: list[Compared] = []
    for number in range(probes):
        common = rng.normal(scale=rounding)
        for _ in range(16):
            base = -rng.exponential(3)
            moved = rng.normal(scale=difference)
            noise = common + rng.normal(scale=rounding)
            made.append(Compared(number, base + acting * moved + noise, base + moved, base))
    return made


def test_an_idle_adapter_is_seen_though_the_engine_rounds_more_than_it_should_move() -> None:
    idle = judge(rows(0.0, difference=0.1, rounding=0.1), tolerance=0.25, adapter=True)
    assert not idle.ok
    assert "does not act" in idle.reason
    acts = judge(rows(1.0, difference=0.1, rounding=0.1), tolerance=0.25, adapter=True)
    assert acts.ok
    assert acts.acting == pytest.approx(1, abs=0.3)
    assert acts.acting_error is not None
    assert acts.acting_error < 0.15
    assert judge(rows(0.0, 0.1, 0.1), tolerance=0.25, adapter=False).ok


@pytest.mark.parametrize("acting", [0.0, 1.0])
def test_too_small_a_difference_is_accepted_and_said(acting: float) -> None:
    report = judge(rows(acting, difference=0.005, rounding=0.1), tolerance=0.25, adapter=True)
    assert report.ok
    assert "less than this engine's precision can show" in report.reason


def test_the_share_that_acts_is_exact_without_rounding() -> None:
    for share in (-1.0, 0.0, 0.3, 1.0):
        slope, error = fit_acting(rows(share, difference=0.2, rounding=0.0))
        assert slope == pytest.approx(share, abs=1e-9)
        assert error == pytest.approx(0, abs=1e-9)
    assert fit_acting(rows(1.0, difference=0.0, rounding=0.1)) == (None, None)
    assert fit_acting(rows(1.0, 0.2, 0.0, probes=7)) == (None, None)


def test_a_wrong_engine_is_refused_whatever_the_kind() -> None:
    for kind in ("base", "adapter", "full"):
        assert not ask(dict.fromkeys(TRAINED, -3.0), kind).ok
        assert not ask({token: float("nan") for token in TRAINED}, kind).ok
        assert "only 0 same tokens" in ask({99: -1.0}, kind).reason


def test_without_probes_only_a_base_is_accepted() -> None:
    assert ask({}, "base", None).ok
    for kind in ("adapter", "full"):
        report = ask({}, kind, None)
        assert not report.ok
        assert "has no probes.json" in report.reason
    assert not ask({}, "adapter", Probes([])).ok


@given(
    st.lists(
        st.builds(Compared, st.integers(0, 9), *[st.floats(-20, 0)] * 3), min_size=8, max_size=40
    ),
    st.floats(0.01, 1),
    st.booleans(),
)
def test_what_is_accepted_is_within_tolerance(
    figures: list[Compared], tolerance: float, adapter: bool
) -> None:
    report = judge(figures, tolerance, adapter)
    if report.ok:
        assert report.error_to_trainer is not None
        assert report.error_to_trainer <= tolerance
    assert msgspec.json.decode(msgspec.json.encode(report), type=ProbeReport) == report


def test_a_trainer_of_less_precision_may_be_off_by_more() -> None:
    off = ScriptedEngine({}).tolerance + 0.08
    shifted = {token: value + off for token, value in TRAINED.items()}
    assert not ask(shifted).ok
    report = ask(shifted, probes=msgspec.structs.replace(PROBES, dtype="bfloat16"))
    assert report.ok
    assert report.tolerance == pytest.approx(ScriptedEngine({}).tolerance + 0.1)
