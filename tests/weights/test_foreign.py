"""Adapters of others: what does not fit, does nothing or could run code is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.learn.families import make_family
from tests.weights.gguf_files import write_gguf

from liveweights.weights.foreign import ForeignError, check_adapter, copy_adapter
from liveweights.weights.loading import load_adapter, load_causal
from liveweights.weights.models import find
from liveweights.weights.tensors import read_shapes

BASE = "tiny@0123456789ab"
PREFIX = "base_model.model."
Make = Callable[..., Path]
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_family("qwen3", tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def make(base: Path, tmp_path: Path) -> Make:
    """A PEFT folder with an adapter of rank 2 on every query projection, which ``change`` may
    change."""

    def write(change: Callable[[Tensors], object] | None = None, **config: Any) -> Path:
        folder = tmp_path / "adapter"
        folder.mkdir()
        tensors: Tensors = {}
        for name, shape in read_shapes(base).items():
            if name.endswith("q_proj.weight"):
                module = PREFIX + name.removesuffix(".weight")
                tensors[f"{module}.lora_A.weight"] = torch.ones(2, shape[1])
                tensors[f"{module}.lora_B.weight"] = torch.ones(shape[0], 2)
        if change:
            change(tensors)
        save_file(tensors, folder / "adapter_model.safetensors")
        given = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
        given |= {"auto_mapping": {"x": "y"}, "megatron_config": {"x": "y"}, **config}
        (folder / "adapter_config.json").write_text(json.dumps(given))
        return folder

    return write


def test_what_fits_is_taken_with_nothing_but_tensors_and_configuration(
    make: Make, base: Path, tmp_path: Path
) -> None:
    folder = make(base_model_name_or_path="org/tiny")
    (folder / "README.md").write_text("hello")
    foreign = check_adapter(folder, base, BASE)
    assert (foreign.modules, foreign.rank, foreign.names_base) == (2, 2, "org/tiny")
    copy_adapter(folder, tmp_path / "copy")
    assert {one.name for one in (tmp_path / "copy").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    config = json.loads((tmp_path / "copy" / "adapter_config.json").read_text())
    assert (config["auto_mapping"], config["megatron_config"]) == (None, None)
    assert check_adapter(tmp_path / "copy", base, BASE).rank == 2


def wrong(change: Callable[[torch.Tensor], torch.Tensor], ending: str) -> Any:
    """Changes every tensor of that ending."""

    def apply(tensors: Tensors) -> None:
        for name in [one for one in tensors if one.endswith(ending)]:
            tensors[name] = change(tensors[name])

    return apply


def rename(old: str, new: str) -> Any:
    def apply(tensors: Tensors) -> None:
        for name in [one for one in tensors if old in one]:
            tensors[name.replace(old, new)] = tensors.pop(name)

    return apply


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (wrong(torch.zeros_like, "lora_B.weight"), "it changes nothing"),
        (wrong(torch.zeros_like, "lora_A.weight"), "it changes nothing"),
        (wrong(lambda one: one * float("nan"), "lora_A.weight"), "not all numbers"),
        (wrong(lambda one: one[:-1].clone(), "lora_B.weight"), "it is of another base"),
        (wrong(lambda one: one[:, :1].clone(), "lora_B.weight"), "do not fit one another"),
        (rename("layers.1.", "layers.7."), "which the base does not have"),
        (rename("q_proj", "query"), "which the base does not have"),
        (rename("lora_A", "lora_embedding_A"), "no factor of a linear layer"),
        (lambda tensors: tensors.pop(sorted(tensors)[0]), "one factor only"),
        (lambda tensors: tensors.clear(), "it holds no tensors"),
    ],
)
def test_an_adapter_that_is_of_no_use_here_is_refused(
    make: Make, base: Path, change: Any, why: str
) -> None:
    with pytest.raises(ForeignError, match=why):
        check_adapter(make(change), base, BASE)


@pytest.mark.parametrize(
    ("family", "module", "turned"),
    [
        ("qwen3", "model.layers.0.mlp.down_proj", False),
        ("gpt2", "transformer.h.0.attn.c_attn", True),
    ],
)
def test_factors_are_turned_round_only_where_the_layer_is(
    tmp_path: Path, family: str, module: str, turned: bool
) -> None:
    base, folder = make_family(family, tmp_path / "base"), tmp_path / "adapter"
    first, second = read_shapes(base)[f"{module}.weight"]
    assert first != second
    folder.mkdir()
    config = {"peft_type": "LORA", "r": 2, "target_modules": [module]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    for outputs, inputs in ((first, second), (second, first)):
        factors = {
            f"{PREFIX}{module}.lora_A.weight": torch.ones(2, inputs),
            f"{PREFIX}{module}.lora_B.weight": torch.ones(outputs, 2),
        }
        save_file(factors, folder / "adapter_model.safetensors")
        if turned == (outputs == second):
            assert check_adapter(folder, base, BASE).modules == 1
            loaded: Any = load_adapter(load_causal(base), folder)
            assert any("lora_A" in name for name, _ in loaded.named_parameters())
        else:
            with pytest.raises(ForeignError, match="of another base"):
                check_adapter(folder, base, BASE)


Q0 = "model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"r": 8}, r"has the shape \(2, 32\); by its configuration it has \(8, 32\)"),
        (
            {"rank_pattern": {"layers.1.*": 4}},
            r"layers\.1\..*by its configuration it has \(4, 32\)",
        ),
        ({"r": "2"}, "PEFT makes no adapter of its configuration"),
        ({"r": 0}, "PEFT makes no adapter of its configuration"),
        ({"rank_pattern": {"(": 2}}, "PEFT makes no adapter of its configuration"),
        ({"lora_dropout": "none"}, "PEFT makes no adapter of its configuration"),
        ({"lora_alpha": "much"}, "PEFT makes no adapter of its configuration"),
        ({"target_modules": ["nothing"]}, "PEFT makes no adapter of its configuration"),
        ({"target_modules": ["k_proj"]}, "its configuration leaves out the tensor .*q_proj"),
        ({"layers_to_transform": [0]}, r"its configuration leaves out the tensor .*layers\.1"),
        ({"exclude_modules": [Q0]}, r"its configuration leaves out the tensor .*layers\.0"),
        ({"target_modules": ["q_proj", "v_proj"]}, "has the tensor .*v_proj.*; it does not"),
        ({"target_modules": r".*\.[qv]_proj"}, "has the tensor .*v_proj.*; it does not"),
        (
            {"use_dora": True, "megatron_config": None},
            "has the tensor .*lora_magnitude_vector.*; it does not",
        ),
        ({"lora_bias": True}, r"has the tensor .*lora_B\.bias.*; it does not"),
    ],
)
def test_tensors_that_are_not_what_the_configuration_says_are_refused(
    make: Make, base: Path, config: dict[str, Any], why: str
) -> None:
    with pytest.raises(ForeignError, match=why):
        check_adapter(make(**config), base, BASE)


@pytest.mark.parametrize(
    "config",
    [
        {"r": 8, "rank_pattern": {"q_.*": 2}},
        {"target_modules": r"model\.layers\.\d\.self_attn\.q_proj"},
        {"target_modules": "all-linear"},
        {"target_modules": ["q_proj", "v_proj"], "exclude_modules": ["v_proj"]},
        {"init_lora_weights": "pissa", "use_rslora": True},
    ],
)
def test_however_a_configuration_says_it(make: Make, base: Path, config: dict[str, Any]) -> None:
    assert check_adapter(make(**config), base, BASE).modules == 2


def test_pickles_are_refused_by_name(make: Make, base: Path) -> None:
    folder = make()
    (folder / "Training_Args.BIN").write_bytes(b"cos\nsystem\n")
    with pytest.raises(ForeignError, match=r"Training_Args\.BIN may be a pickle"):
        check_adapter(folder, base, BASE)


def test_what_is_no_lora_folder_is_refused(make: Make, base: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ForeignError, match=r"no adapter_config\.json"):
        check_adapter(tmp_path / "empty", base, BASE)
    with pytest.raises(ForeignError, match="peft_type 'IA3'"):
        check_adapter(make(peft_type="IA3"), base, BASE)


def test_the_base_that_another_service_names_by_content_has_to_be_this_one(
    make: Make, base: Path
) -> None:
    folder = make()
    (folder / "card.json").write_text(json.dumps({"base": "tiny@ffffffffffff"}))
    with pytest.raises(ForeignError, match="made on tiny@ffffffffffff, not on tiny@0123456789ab"):
        check_adapter(folder, base, BASE)
    (folder / "card.json").write_text(json.dumps({"base": BASE}))
    assert check_adapter(folder, base, BASE).modules == 2


def test_an_adapter_on_a_gguf_base_is_held_against_its_tensors(tmp_path: Path) -> None:
    on = find(str(write_gguf(tmp_path / "m.gguf", "qwen3", pre="qwen2")), tmp_path / "cache")
    folder = tmp_path / "adapter"
    folder.mkdir()
    module = "model.layers.1.self_attn.q_proj"
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": [module]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    module = f"{PREFIX}{module}"
    for outputs, fits in ((128, True), (64, False)):
        factors = {
            f"{module}.lora_A.weight": torch.ones(2, 64),
            f"{module}.lora_B.weight": torch.ones(outputs, 2),
        }
        save_file(factors, folder / "adapter_model.safetensors")
        if fits:
            assert check_adapter(folder, on.folder, on.id).modules == 1
            continue
        with pytest.raises(ForeignError, match="in the base it is 128 x 64"):
            check_adapter(folder, on.folder, on.id)
