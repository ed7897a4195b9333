"""Choosing a precision by what it loses."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.engines.llama.precision import Distribution, choose_precision, divergence
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.gguf import LAYOUT

logits = st.lists(st.floats(-8, 0), min_size=4, max_size=4)


def distribution(values: list[float]) -> Distribution:
    total = math.log(sum(math.exp(value) for value in values))
    return {token: value - total for token, value in enumerate(values)}


@given(logits, logits)
def test_divergence_is_positive_and_zero_for_the_same(one: list[float], two: list[float]) -> None:
    p, q = distribution(one), distribution(two)
    assert divergence([p], [p]) == pytest.approx(0, abs=1e-12)
    assert divergence([p], [q]) >= -1e-12


def test_divergence_of_known_distributions() -> None:
    p = {0: math.log(0.5), 1: math.log(0.5)}
    q = {0: math.log(0.25), 1: math.log(0.75)}
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert divergence([p, p], [q, p]) == pytest.approx(expected / 2)


def kept(tmp_path: Path, base: Checkpoint, losses: str) -> None:
    file = tmp_path / "precision" / f"{base.id}.v{LAYOUT}.json"
    file.parent.mkdir()
    file.write_text(f'{{"losses": {losses}}}')


@pytest.mark.parametrize(
    ("losses", "chosen"),
    [
        ('{"q4_0": 0.009}', "q4_0"),
        ('{"q4_0": 0.05, "q8_0": 0.001}', "q8_0"),
        ('{"q4_0": 0.05, "q8_0": 0.02}', "f16"),
    ],
)
def test_the_fastest_that_loses_little_is_chosen(tmp_path: Path, losses: str, chosen: str) -> None:
    base = Checkpoint("tiny@000000000000", "base", tmp_path)
    kept(tmp_path, base, losses)
    assert asyncio.run(choose_precision(base, tmp_path, 0.01, 1)) == chosen


@pytest.mark.model
@pytest.mark.slow
def test_it_is_measured_once(base: Checkpoint, model_cache: Path) -> None:
    file = model_cache / "precision" / f"{base.id}.v{LAYOUT}.json"
    file.unlink(missing_ok=True)
    chosen = asyncio.run(choose_precision(base, model_cache, 0.01, 2))
    before = file.read_text()
    assert asyncio.run(choose_precision(base, model_cache, 0.01, 2)) == chosen
    assert file.read_text() == before
    # Losing nothing is asking for the reference.
    assert asyncio.run(choose_precision(base, model_cache, 1e-12, 2)) == "f16"
