from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from liveweights.weights.delta import FILE, DeltaError, apply, encode, is_delta, restore


def save(folder: Path, **tensors: torch.Tensor) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text('{"of": "base"}')
    return folder


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        "a": torch.randn(64, 32, generator=draw).to(torch.bfloat16),
        "b": torch.randn(7, 5, generator=draw),
        "c": torch.arange(9),
        "scalar": torch.tensor(1.5),
    }


@settings(max_examples=25, deadline=None)
@given(
    dtype=st.sampled_from([torch.bfloat16, torch.float16, torch.float32, torch.int64]),
    values=st.lists(st.tuples(st.integers(0, 199), st.integers(-(2**15), 2**15 - 1)), max_size=40),
)
def test_what_is_applied_is_bit_for_bit_the_child(
    tmp_path_factory: pytest.TempPathFactory,
    dtype: torch.dtype,
    values: list[tuple[int, int]],
) -> None:
    """Any bits, those of infinities and NaNs among them."""
    folder = tmp_path_factory.mktemp("delta")
    old = torch.randn(200).to(dtype)
    new = old.clone()
    bits = new.view(torch.int16)
    for place, value in values:
        bits[place] = value
    parent, child = save(folder / "parent", w=old), save(folder / "child", w=new)
    encode(parent, child, folder / "delta")
    apply(parent, folder / "delta", folder / "again")
    found = load_file(folder / "again" / "model.safetensors")["w"]
    assert found.dtype == dtype
    assert torch.equal(found.view(torch.int16), new.view(torch.int16))


def test_what_did_not_change_costs_nothing(tmp_path: Path) -> None:
    parent = save(tmp_path / "parent", big=torch.randn(1 << 18).to(torch.bfloat16))
    moved = load_file(parent / "model.safetensors")["big"].clone()
    moved[::100] *= 1.01
    child = save(tmp_path / "child", big=moved)
    size = encode(parent, child, tmp_path / "delta")
    assert size.values == 1 << 18
    assert 0.005 < size.changed / size.values < 0.011
    assert size.delta_bytes < size.whole_bytes / 20
    assert is_delta(tmp_path / "delta")
    assert not is_delta(parent)
    assert encode(parent, parent, tmp_path / "none").delta_bytes < 1000


def test_the_wrong_parent_is_refused(tmp_path: Path) -> None:
    parent, other = save(tmp_path / "parent", **weights(0)), save(tmp_path / "x", **weights(1))
    child = save(tmp_path / "child", **weights(2))
    encode(parent, child, tmp_path / "delta")
    with pytest.raises(DeltaError, match="is a difference to weights with the hash"):
        apply(other, tmp_path / "delta", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_damaged_difference_is_refused(tmp_path: Path) -> None:
    parent, child = save(tmp_path / "p", **weights(0)), save(tmp_path / "c", **weights(1))
    encode(parent, child, tmp_path / "delta")
    file = tmp_path / "delta" / FILE
    raw = bytearray(file.read_bytes())
    raw[-40] ^= 1
    file.write_bytes(raw)
    with pytest.raises(DeltaError, match=r"cannot be read|does not make"):
        apply(parent, tmp_path / "delta", tmp_path / "again")


@pytest.mark.parametrize(
    "child",
    [{"a": torch.zeros(2)}, {"a": torch.zeros(3), "b": torch.zeros(1)}],
    ids=["shape", "more"],
)
def test_other_tensors_are_refused(tmp_path: Path, child: dict[str, torch.Tensor]) -> None:
    parent = save(tmp_path / "parent", a=torch.zeros(3))
    with pytest.raises(DeltaError, match=r"is \(3,\)|do not have the same tensors"):
        encode(parent, save(tmp_path / "child", **child), tmp_path / "delta")


def test_restored_once_and_with_everything_else_of_the_parent(tmp_path: Path) -> None:
    parent, child = save(tmp_path / "p", **weights(0)), save(tmp_path / "c", **weights(1))
    (parent / "tokenizer.json").write_text("{}")
    (parent / "card.json").write_text("of the parent")
    encode(parent, child, tmp_path / "delta")
    (tmp_path / "delta" / "config.json").write_text('{"of": "child"}')
    found = restore(parent, tmp_path / "delta", "m@1", tmp_path / "cache")
    assert sorted(f.name for f in found.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert (found / "config.json").read_text() == '{"of": "child"}'
    (tmp_path / "delta" / FILE).unlink()
    assert restore(parent, tmp_path / "delta", "m@1", tmp_path / "cache") == found
