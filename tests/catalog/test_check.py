"""A model that cannot be served is refused in one sentence, before anything is told of it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tests.learn.families import make_family, write_family

from liveweights.catalog import check
from liveweights.catalog.check import check_model, find_fault, is_finite, layers_beyond
from liveweights.weights.models import BrokenModel, ModelAway, find

Change = Callable[[Path], object]
LAYER = "model.layers.0.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_family("qwen3", tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def tiny(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "tiny"))


def fault(folder: Path, engine: str = "llama") -> str | None:
    return find_fault(find(str(folder), folder.parent / "cache"), engine)


def weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def write(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return write


def settings(name: str, **changes: Any) -> Change:
    def write(folder: Path) -> None:
        known = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(known | changes))

    return write


def template(text: str) -> Change:
    return lambda folder: (folder / "chat_template.jinja").write_text(text)


def _swap(tensors: dict[str, torch.Tensor]) -> None:
    tensors[LAYER] = tensors[LAYER].t().contiguous()


def _spoil(value: float) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[LAYER][-1, -1] = value

    return change


BROKEN: dict[str, tuple[Change, str]] = {
    "swapped shape": (weights(_swap), rf"{LAYER} is \(.*\) in its weights, \(.*\) by its config"),
    "missing": (weights(lambda tensors: tensors.pop(LAYER)), f"lack '{LAYER}'"),
    "NaN": (weights(_spoil(float("nan"))), f"{LAYER} in .* no finite numbers"),
    "infinite": (weights(_spoil(float("-inf"))), f"{LAYER} in .* no finite numbers"),
    "more layers": (settings("config.json", num_hidden_layers=3, layer_types=None), "weights lack"),
    "fewer layers": (
        settings("config.json", num_hidden_layers=1, layer_types=None),
        r"its weights have 'model\.layers\.1\..* and \d+ more, more layers than its config",
    ),
    "heads": (settings("config.json", num_key_value_heads=3), "by its config.json"),
    "no such family": (settings("config.json", model_type="nonesuch"), "nonesuch"),
    "code of its own": (
        settings(
            "config.json", model_type="own", auto_map={"AutoConfig": "own.Config"}
        ),
        "code of its own .* never run",
    ),
    "tokenizer of its own": (
        lambda folder: (
            settings(
                "tokenizer_config.json",
                tokenizer_class="OwnTokenizer",
                auto_map={"AutoTokenizer": ["own.OwnTokenizer", None]},
            )(folder),
            (folder / "own.py").write_text("raise SystemExit('run')"),
        ),
        "code of its own .* never run",
    ),
    "rotary embedding": (
        settings("config.json", rope_parameters={"rope_type": "spiral", "rope_theta": 1.0}),
        "spiral",
    ),
    "tokenizer cut off": (
        lambda folder: (folder / "tokenizer.json").write_text('{"version": "1.0", "mod'),
        "its tokenizer does not load",
    ),
    "no tokenizer": (
        lambda folder: [file.unlink() for file in folder.glob("tokenizer*")],
        "its tokenizer",
    ),
    "template": (template("{% for x in %}"), "its chat template .* cannot be read, at line 1"),
    "template loops": (
        template("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
        "it computes for more than 2 s",
    ),
    "template fills": (template("{{ 'x' * 40000000000 }}"), "more memory than it may have"),
    "template divides": (template("{{ 1 // 0 }}"), "ZeroDivisionError"),
    "template grows": (template("{{ 'x' * 1000000 }}"), "makes 1,000,000 characters"),
}  # fmt: skip


@pytest.mark.parametrize("change", BROKEN)
def test_what_is_broken_is_said_in_one_line(tiny: Path, change: str) -> None:
    spoil, why = BROKEN[change]
    assert fault(tiny) is None
    spoil(tiny)
    found = fault(tiny)
    assert found is not None
    assert "\n" not in found
    assert re.search(why, found), found


def test_layers_that_guess_further_tokens_may_come_after_the_others() -> None:
    own = {"model.layers.0.mlp.weight", "model.embed_tokens.weight"}
    guessing = {"model.layers.1.eh_proj.weight", "model.layers.1.mlp.weight"}
    assert layers_beyond(guessing | {"visual.blocks.0.weight"}, own) == set()
    assert layers_beyond(guessing | {"model.layers.2.mlp.weight"}, own) == {
        "model.layers.2.mlp.weight"
    }


def test_what_a_template_refuses_is_its_own_business(tiny: Path) -> None:
    template("{{ raise_exception('system first') }}")(tiny)
    assert fault(tiny) is None


def test_more_tokens_than_rows_are_named(tmp_path: Path) -> None:
    from tests.learn.families import make_config

    config = make_config("qwen3")
    config.vocab_size = 200  # the tokenizer has a token for each of 256 bytes
    config.eos_token_id = config.bos_token_id = config.pad_token_id = 0
    write_family(config, tmp_path / "tiny")
    found = fault(tmp_path / "tiny", "torch")
    assert found is not None
    assert "beyond the 200 rows of its embedding" in found


def test_an_engine_that_cannot_take_it_says_so(tmp_path: Path) -> None:
    folder = make_family("gpt2", tmp_path / "tiny")
    found = fault(folder, "llama")
    assert found is not None
    assert "cannot be served by the llama engine" in found
    assert fault(folder, "torch") is None


def test_it_is_asked_once_in_a_process_of_its_own(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = find(str(tiny), tmp_path / "cache")
    asyncio.run(check_model(base, "tiny", "llama", tmp_path / "cache"))
    monkeypatch.setattr(check, "_ask", None)  # a second question would fail
    asyncio.run(check_model(base, "tiny", "llama", tmp_path / "cache"))
    with pytest.raises(TypeError):
        asyncio.run(check_model(base, "tiny", "torch", tmp_path / "cache"))


def test_a_broken_one_is_refused_in_one_sentence(tiny: Path, tmp_path: Path) -> None:
    BROKEN["NaN"][0](tiny)
    base = find(str(tiny), tmp_path / "cache")
    with pytest.raises(BrokenModel) as refused:
        asyncio.run(check_model(base, "models/tiny", "llama", tmp_path / "cache"))
    said = str(refused.value)
    assert said.startswith("The model 'models/tiny' cannot be served: ")
    assert "\n" not in said
    assert not (tmp_path / "cache" / "checked").exists()


def test_what_does_not_end_is_ended(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = _found(tiny)
    settings("config.json", num_hidden_layers=10**9, layer_types=None)(tiny)
    monkeypatch.setattr(check, "PATIENCE", 8.0)
    began = time.monotonic()
    with pytest.raises(BrokenModel, match="did not end within 8 s"):
        asyncio.run(check_model(base, "tiny", "torch", tmp_path / "cache"))
    assert time.monotonic() - began < 100


def test_what_takes_all_memory_is_ended(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "MEMORY", 1 << 20)
    with pytest.raises(BrokenModel, match=r"(?i)memory|ended with"):
        asyncio.run(check_model(_found(tiny), "tiny", "torch", tmp_path / "cache"))


def test_a_process_that_dies_is_said(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check.sys, "executable", "/bin/false")
    with pytest.raises(BrokenModel, match="ended with exit code 1"):
        asyncio.run(check_model(_found(tiny), "tiny", "torch", tmp_path / "cache"))


def test_a_process_that_was_killed_says_nothing_of_the_model(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = tmp_path / "killed"
    killed.write_text("#!/bin/sh\nkill -KILL $$\n")
    killed.chmod(0o700)
    monkeypatch.setattr(check.sys, "executable", str(killed))
    with pytest.raises(ModelAway, match="ended with SIGKILL"):
        asyncio.run(check_model(_found(tiny), "tiny", "torch", tmp_path / "cache"))


def _found(folder: Path) -> Any:
    return find(str(folder), folder.parent / "cache")


@given(
    st.lists(st.floats(width=32), min_size=1, max_size=40),
    st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_finite_is_what_each_value_is(values: list[float], dtype: torch.dtype) -> None:
    tensor = torch.tensor(values, dtype=torch.float64).to(dtype)
    assert is_finite(tensor) == bool(tensor.isfinite().all())


def test_large_values_are_finite_and_any_place_is_looked_at() -> None:
    many = torch.full((3, 1 << 23), 3e38)
    assert is_finite(many)
    many[2, -1] = float("nan")
    assert not is_finite(many)
    assert is_finite(torch.zeros(4, dtype=torch.float8_e4m3fn))
    assert is_finite(torch.zeros(4, dtype=torch.int64))
    assert not os.environ.get("HF_HUB_OFFLINE")  # only the process that asks is set so
