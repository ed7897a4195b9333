"""Rounding a tiny model, and reading what was written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.learn.families import make_config, write_family
from typer.testing import CliRunner

from liveweights.cli import app
from liveweights.ternary.calibration import CannotCalibrate, chunk_texts, perplexity
from liveweights.ternary.conversion import CannotConvert, Options, convert, stages
from liveweights.ternary.layers import TernaryEmbedding, TernaryLinear
from liveweights.ternary.reading import register
from liveweights.weights.models import parameters
from liveweights.weights.ternary.folder import read_matrices

pytest.importorskip("llvmlite", reason="needs liveweights[ternary]")


def write_dense(folder: Path, family: str = "qwen3") -> Path:
    config = make_config(family)
    config.hidden_size, config.intermediate_size, config.head_dim = 64, 128, 32
    torch.manual_seed(5)
    return write_family(config, folder)


def read(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    register()
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def text() -> torch.Tensor:
    return torch.randint(0, 250, (9, 48), generator=torch.Generator().manual_seed(1))


def silent(what: str, done: int, total: int) -> None:
    assert 0 <= done <= total, what


@pytest.mark.parametrize("options", [
    Options(group=64),
    Options(group=64, packing="base3", embeddings=True),
    Options(group=64, feedback=False),
])  # fmt: skip
def test_what_is_read_is_what_was_rounded(options: Options, tmp_path: Path) -> None:
    dense, target = write_dense(tmp_path / "dense"), tmp_path / "ternary"
    made = convert(dense, target, text(), options, silent)
    model, plain = read(target), read(dense)
    matrices = read_matrices(target)
    layers = {
        n: m for n, m in model.named_modules() if isinstance(m, TernaryLinear | TernaryEmbedding)
    }
    assert set(layers) == set(matrices) == {one.name for one in made.matrices}
    assert len(layers) == 2 * 7 + 2 * options.embeddings
    for name, matrix in matrices.items():
        assert torch.equal(
            layers[name].dequantise(torch.float32), torch.from_numpy(matrix.dequantise())
        )
        plain.get_submodule(name).weight.data = torch.from_numpy(matrix.dequantise())
    ids = text()[:2]
    with torch.no_grad():
        difference = model(ids).logits - plain(ids).logits
    assert difference.abs().max() < 0.1 * plain(ids).logits.abs().max()
    assert made.ternary_perplexity == pytest.approx(perplexity(plain, text()[-1:]), rel=1e-3)
    assert made.ternary_bytes < made.dense_bytes / 3
    assert parameters(target) == parameters(dense)


@pytest.mark.parametrize(("hidden", "rounded"), [(96, False), (64, True)])
def test_a_tied_model_is_whole_whether_its_embedding_fits_or_not(
    hidden: int, rounded: bool, tmp_path: Path
) -> None:
    config = make_config("llama")
    config.hidden_size, config.intermediate_size, config.head_dim = hidden, 128, 32
    config.tie_word_embeddings = True
    dense, target = write_family(config, tmp_path / "dense"), tmp_path / "ternary"
    made = convert(dense, target, text(), Options(group=64, embeddings=True), silent)
    names = {one.name for one in made.matrices}
    assert ({"lm_head", "model.embed_tokens"} <= names) is rounded
    assert json.loads((target / "config.json").read_text())["tie_word_embeddings"] is not rounded
    model = read(target)
    assert perplexity(model, text()[-1:]) == pytest.approx(made.ternary_perplexity, rel=1e-2)


def test_an_embedding_that_scales_is_kept(tmp_path: Path) -> None:
    """Gemma's, which is the output layer, too."""
    config = make_config("gemma")
    config.hidden_size, config.intermediate_size, config.head_dim = 64, 128, 32
    dense, target = write_family(config, tmp_path / "dense"), tmp_path / "ternary"
    made = convert(dense, target, text(), Options(group=64, embeddings=True), silent)
    names = {one.name for one in made.matrices}
    assert "lm_head" in names
    assert "model.embed_tokens" not in names
    model = read(target)
    assert perplexity(model, text()[-1:]) == pytest.approx(made.ternary_perplexity, rel=1e-2)
    kept, source = (one.get_input_embeddings().weight for one in (model, read(dense)))
    torch.testing.assert_close(kept, source, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("embeddings", [True, False])
def test_a_model_computes_in_the_precision_that_is_asked_for(
    embeddings: bool, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    dense, target = write_dense(tmp_path / "dense"), tmp_path / "ternary"
    convert(dense, target, text(), Options(group=64, embeddings=embeddings), silent)
    if embeddings:
        keep_head_dense(dense, target)
    register()
    model: Any = AutoModelForCausalLM.from_pretrained(target, dtype=torch.bfloat16)
    ids = text()[:1]
    with torch.no_grad():
        assert model.get_input_embeddings()(ids).dtype == torch.bfloat16
        out = model(ids, use_cache=True)
    assert out.logits.dtype == torch.bfloat16
    assert out.past_key_values.layers[0].keys.dtype == torch.bfloat16


def keep_head_dense(dense: Path, target: Path) -> None:
    file = target / "model.safetensors"
    tensors = {n: t for n, t in load_file(file).items() if not n.startswith("lm_head.")}
    head = load_file(dense / "model.safetensors")["lm_head.weight"].half()
    save_file({**tensors, "lm_head.weight": head}, file, metadata={"format": "pt"})
    config = json.loads((target / "config.json").read_text())
    config["quantization_config"]["modules_to_not_convert"] = ["lm_head"]
    (target / "config.json").write_text(json.dumps(config))


def test_feedback_loses_less_than_rounding_alone(tmp_path: Path) -> None:
    dense = write_dense(tmp_path / "dense", "llama")
    losses = [
        convert(dense, tmp_path / str(on), text(), Options(group=64, feedback=on), silent).matrices
        for on in (True, False)
    ]
    total = [sum(one.loss or 0 for one in matrices) for matrices in losses]
    assert total[0] < total[1]


def test_a_gradient_passes_to_what_is_learnt_beside(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    dense, target = write_dense(tmp_path / "dense"), tmp_path / "ternary"
    convert(dense, target, text(), Options(group=64), silent)
    model = get_peft_model(read(target), LoraConfig(r=4, target_modules=["q_proj", "down_proj"]))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    ids = text()[:2]
    losses: list[float] = []
    for _ in range(20):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_what_sees_the_same_is_rounded_together() -> None:
    names = ["mlp.down_proj", "self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "other",
             "self_attn.v_proj"]  # fmt: skip
    assert stages(names) == [
        ["self_attn.q_proj", "self_attn.v_proj"], ["self_attn.o_proj"], ["mlp.up_proj"],
        ["mlp.down_proj"], ["other"],
    ]  # fmt: skip


def test_what_cannot_be_converted_says_why(tmp_path: Path) -> None:
    config = make_config("llama")
    small = write_family(config, tmp_path / "small")
    with pytest.raises(CannotConvert, match="divide by 128"):
        convert(small, tmp_path / "out", text(), Options(group=128), silent)
    with pytest.raises(CannotConvert, match="there already"):
        convert(small, small, text(), Options(), silent)
    with pytest.raises(CannotCalibrate, match="too few"):
        chunk_texts([1] * 100, 64)


def test_the_command_says_what_it_lost(tmp_path: Path) -> None:
    dense = write_dense(tmp_path / "dense")
    (tmp_path / "a.txt").write_text("a few words, again and again; " * 80)
    words = ["ternary", "convert", str(dense), str(tmp_path / "out"), "--text",
             str(tmp_path / "a.txt"), "--group", "64", "--length", "64", "--rows", "16",
             "--home", str(tmp_path / "home")]  # fmt: skip
    run = CliRunner().invoke(app, words)
    assert run.exit_code == 0, run.output
    assert "model.layers.1.mlp.down_proj" in run.output
    assert "perplexity" in run.output
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["quantization_config"]["group_size"] == 64
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2
    assert "there already" in again.output
    odd = CliRunner().invoke(app, [*words, "--group", "96"])
    assert odd.exit_code == 2
    assert "64, 128 or 256" in odd.output
