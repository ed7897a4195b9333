"""Likeness of weights, on files with matrices that were made from one another, or were not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from liveweights.catalog.similarity import SAMPLED, compare_weights, correlate, spread

Weights = dict[str, torch.Tensor]
PLACES = ("self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj")


def make_weights(seed: int, layers: int = 6, prefix: str = "model.") -> Weights:
    generator = torch.Generator().manual_seed(seed)
    return {
        f"{prefix}layers.{layer}.{place}.weight": torch.randn(96, 96, generator=generator) / 10
        for layer in range(layers)
        for place in PLACES
    }


def save(folder: Path, weights: Weights) -> Path:
    folder.mkdir()
    save_file({name: one.contiguous() for name, one in weights.items()}, folder / "a.safetensors")
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return save(tmp_path / "base", make_weights(0))


def moved(weights: Weights, share: float) -> Weights:
    generator = torch.Generator().manual_seed(9)
    return {
        name: one + share * one.std() * torch.randn(one.shape, generator=generator)
        for name, one in weights.items()
    }


@pytest.mark.parametrize(
    ("change", "alike"),
    [
        (lambda weights: weights, True),
        (lambda weights: {name: one.bfloat16() for name, one in weights.items()}, True),
        (lambda weights: {name: one.sign() for name, one in weights.items()}, True),
        (lambda weights: moved(weights, 0.5), True),
        (lambda weights: moved(weights, 20.0), False),
        (lambda weights: make_weights(1), False),
        (lambda weights: {name: -one for name, one in weights.items()}, False),
        (lambda weights: {name: torch.zeros_like(one) for name, one in weights.items()}, False),
    ],
)
def test_what_was_made_from_a_base_is_alike_it(
    change,  # type: ignore[no-untyped-def]
    alike: bool,
    base: Path,
    tmp_path: Path,
) -> None:
    likeness = compare_weights(save(tmp_path / "other", change(make_weights(0))), base)
    assert len(likeness.correlations) == SAMPLED
    assert likeness.is_alike is alike


def test_layers_that_were_left_out_moved_or_wrapped_are_found(base: Path, tmp_path: Path) -> None:
    weights = make_weights(0)
    fewer = {
        name.replace(f"model.layers.{layer}.", f"model.language_model.layers.{place}."): one
        for place, layer in enumerate((5, 3, 0))
        for name, one in weights.items()
        if f"layers.{layer}." in name
    }
    likeness = compare_weights(save(tmp_path / "fewer", fewer), base)
    assert min(likeness.correlations) > 0.999


def test_a_base_of_which_little_was_kept_is_not_claimed(base: Path, tmp_path: Path) -> None:
    weights = make_weights(1) | {
        name: one for name, one in make_weights(0).items() if "layers.0." in name
    }
    likeness = compare_weights(save(tmp_path / "other", weights), base)
    assert max(likeness.correlations) > 0.999
    assert not likeness.is_alike


def test_nothing_to_compare_is_no_likeness(base: Path, tmp_path: Path) -> None:
    other = {"model.layers.0.self_attn.q_proj.weight": torch.randn(96, 64)}
    likeness = compare_weights(save(tmp_path / "other", other), base)
    assert likeness.correlations == ()
    assert not likeness.is_alike


@given(st.integers(0, 1000), st.floats(0.1, 10), st.floats(-5, 5))
def test_a_correlation_knows_no_scale_and_no_shift(seed: int, scale: float, shift: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    one, other = (torch.randn(40, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    plain = correlate(one, other)
    assert correlate(one, scale * other + shift) == pytest.approx(plain, abs=1e-9)
    assert correlate(other, one) == pytest.approx(plain, abs=1e-9)
    assert correlate(one, scale * one + shift) == pytest.approx(1.0)


@given(st.lists(st.integers(), unique=True), st.integers(2, 20))
def test_a_spread_keeps_the_ends_and_the_order(values: list[int], count: int) -> None:
    chosen = spread(values, count)
    assert len(chosen) == min(len(values), count)
    assert chosen == [value for value in values if value in chosen]
    assert chosen[:1] == values[:1]
    assert chosen[-1:] == values[-1:]
