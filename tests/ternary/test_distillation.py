"""Distilling a tiny random model."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.learn.families import make_config, write_family
from tests.weights.ternary.drawing import same

from liveweights.ternary.conversion import Options, convert
from liveweights.ternary.distillation import (
    CannotTrain,
    Distiller,
    LatentLinear,
    Training,
    divergence,
)
from liveweights.ternary.layers import TernaryLinear
from liveweights.ternary.reading import register
from liveweights.weights.ternary.folder import read_matrices, replace_matrices

pytest.importorskip("llvmlite", reason="needs liveweights[ternary]")


def read(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    register()
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dense model and what rounding made of it."""
    place = tmp_path_factory.mktemp("models")
    config = make_config("llama")
    config.hidden_size, config.intermediate_size, config.head_dim = 64, 128, 16
    torch.manual_seed(3)
    dense = write_family(config, place / "dense")
    convert(dense, place / "ternary", text(), Options(group=64), lambda *_: None)
    return dense, place / "ternary"


def text() -> torch.Tensor:
    return torch.randint(0, 250, (8, 32), generator=torch.Generator().manual_seed(1))


def distil(
    folders: tuple[Path, Path],
    state: Path,
    steps: int,
    ids_BT: torch.Tensor | None = None,
    **how: Any,
) -> tuple[Any, list[float]]:
    training = Training(
        steps=how.pop("of", steps), rows=2, learning_rate=3e-3, warmup=2, save_every=2
    )
    distiller = Distiller(
        *map(read, folders), text() if ids_BT is None else ids_BT, training, state
    )
    losses: list[float] = []

    class Enough(Exception):
        pass

    def tell(step: int, loss: float) -> None:
        losses.append(loss)
        if step == steps:
            raise Enough

    with contextlib.suppress(Enough):
        distiller.run(tell)
    return distiller, losses


def test_it_comes_closer_to_the_dense_model(folders: tuple[Path, Path], tmp_path: Path) -> None:
    distiller, losses = distil(folders, tmp_path, 24)
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    target = tmp_path / "trained"
    replace_matrices(folders[1], target, distiller.matrices())
    stored = read_matrices(target)
    assert all(same(stored[name], one) for name, one in distiller.matrices().items())
    ids = text()[:2]
    with torch.no_grad():
        logits = [read(place)(ids).logits.log_softmax(-1) for place in (*folders, target)]
    dense, before, after = logits
    assert (after - dense).abs().mean() < (before - dense).abs().mean()


def test_it_goes_on_where_it_was_stopped(folders: tuple[Path, Path], tmp_path: Path) -> None:
    _, whole = distil(folders, tmp_path / "whole", 6)
    _, first = distil(folders, tmp_path / "parts", 4, of=6)
    left = tmp_path / "parts" / ".state.pt.abcdefgh"
    left.mkdir()  # by one that was killed as it saved
    second, rest = distil(folders, tmp_path / "parts", 6)
    assert first + rest == pytest.approx(whole)
    assert second.step == 6
    assert not left.exists()
    with pytest.raises(CannotTrain, match="another --state"):
        distil(folders, tmp_path / "parts", 7)


def test_it_does_not_go_on_with_other_models_or_texts(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    dense, ternary = folders
    distil(folders, tmp_path / "state", 2)
    again = tmp_path / "again"
    convert(dense, again, text(), Options(group=64, feedback=False), lambda *_: None)
    teacher = read(dense)
    with torch.no_grad():
        teacher.model.norm.weight[0] += 1
    teacher.save_pretrained(tmp_path / "teacher")
    exchanged = text()[[1, 0, *range(2, 8)]]
    for models, ids in (
        ((dense, again), text()),
        ((tmp_path / "teacher", ternary), text()),
        (folders, exchanged),
    ):
        with pytest.raises(CannotTrain, match="another --state"):
            distil(models, tmp_path / "state", 2, ids)
    assert distil(folders, tmp_path / "state", 2)[0].step == 2


def test_it_begins_with_what_rounding_found(folders: tuple[Path, Path]) -> None:
    dense, ternary = map(read, folders)
    for name, layer in ternary.named_modules():
        if isinstance(layer, TernaryLinear):
            latent = LatentLinear(dense.get_submodule(name).weight, layer)
            packed = latent.pack()
            assert torch.equal(
                torch.from_numpy(packed.dequantise()), layer.dequantise(torch.float32)
            )


def test_gradients_pass_through_rounding_to_weights_and_scales(folders: tuple[Path, Path]) -> None:
    dense, ternary = map(read, folders)
    name = "model.layers.0.mlp.down_proj"
    latent = LatentLinear(dense.get_submodule(name).weight, ternary.get_submodule(name))
    x = torch.randn(5, latent.weight.shape[1])
    latent(x).sum().backward()
    assert latent.weight.grad is not None
    assert latent.scales.grad is not None
    blocks = x.unflatten(-1, (-1, 64))
    step = blocks.abs().amax(-1, keepdim=True) / 127
    rounded = ((blocks / step).round() * step).flatten(-2)
    assert torch.allclose(latent.weight.grad, rounded.sum(0).expand_as(latent.weight), atol=1e-4)
    trits, scales = latent.trits()
    by_scale = (latent.weight.grad.reshape(trits.shape) * trits).sum(-1)
    assert torch.allclose(latent.scales.grad, by_scale, atol=1e-4)
    assert scales.shape == latent.scales.shape


def test_a_pass_holds_nothing_but_its_input(folders: tuple[Path, Path]) -> None:
    dense, ternary = map(read, folders)
    name = "model.layers.0.mlp.down_proj"
    latent = LatentLinear(dense.get_submodule(name).weight, ternary.get_submodule(name))
    x = torch.randn(5, latent.weight.shape[1], requires_grad=True)
    there = {tensor.data_ptr() for tensor in (x, *latent.parameters())}
    held: list[torch.Tensor] = []

    def hold(tensor: torch.Tensor) -> torch.Tensor:
        held.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(hold, lambda tensor: tensor):
        out = latent(x)
    assert {tensor.data_ptr() for tensor in held} <= there
    out.sum().backward()
    assert x.grad is not None
    trits, scales = latent.trits()
    assert torch.allclose(x.grad, (trits * scales[..., None]).flatten(1).sum(0).expand_as(x.grad),
                          atol=1e-4)  # fmt: skip


def test_the_divergence_is_the_same_in_pieces() -> None:
    heads = [torch.nn.Linear(8, 50, bias=False) for _ in range(2)]
    hidden = [torch.randn(7, 8) for _ in range(2)]
    pairs = [(h, head) for h, head in zip(hidden, heads, strict=True)]
    whole = divergence(pairs[0], pairs[1])
    expected = torch.nn.functional.kl_div(
        heads[0](hidden[0]).log_softmax(-1), heads[1](hidden[1]).log_softmax(-1),
        log_target=True, reduction="batchmean",
    )  # fmt: skip
    assert torch.allclose(whole, expected, atol=1e-6)
    assert torch.allclose(divergence(pairs[0], pairs[1], chunk=100), expected, atol=1e-6)
