"""What was learnt on ternary weights leaves as an adapter, for PEFT and for llama.cpp."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.sharing.test_forms import IDS, ask_llama
from tests.sharing.tiny import CPU, read_logprobs, write_adapter
from tests.weights.ternary.models import write_ternary

from liveweights.learn.updaters.load import load_model
from liveweights.sharing.forms import CannotExport, Form, write_form
from liveweights.sharing.merging import merge_adapters
from liveweights.sharing.source import Source
from liveweights.weights.foreign import ForeignError, check_adapter
from liveweights.weights.models import find
from liveweights.weights.ternary.layout import Packing
from liveweights.weights.ternary.writing import write_gguf

pytest.importorskip("llvmlite", reason="needs liveweights[ternary]")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = tmp_path_factory.mktemp("ternary")
    base = find(str(write_ternary(folder, "llama", 64)), folder / "cache")
    return write_adapter(base, folder / "adapter", std=0.1)


def write(source: Source, form: Form, folder: Path) -> None:
    folder.mkdir()
    write_form(source, form, folder, precision="f16", base_name="org/tiny")


@pytest.mark.model
def test_llama_cpp_puts_the_adapter_beside_the_exported_base(
    source: Source, tmp_path: Path
) -> None:
    from peft import PeftModel

    write(source, "gguf-adapter", tmp_path / "out")
    (adapter,) = (tmp_path / "out").glob("*.gguf")
    write_gguf(source.base, tmp_path / "base.gguf", None, lambda what, done, total: None)
    model = load_model(source.base.folder, torch.float32, CPU)
    alone = read_logprobs(model, IDS)[-1]
    adapted = PeftModel.from_pretrained(model, str(source.checkpoint.folder)).eval()
    ours = read_logprobs(adapted, IDS)[-1]
    theirs = ask_llama(tmp_path / "base.gguf", adapter)

    def error(logprobs: torch.Tensor) -> float:
        return sum(abs(float(logprobs[id]) - value) for id, value in theirs.items()) / len(theirs)

    assert error(ours) < 0.2
    assert error(alone) > 2 * error(ours)


def test_ternary_weights_are_not_merged_with(source: Source, tmp_path: Path) -> None:
    for form in ("merged", "gguf"):
        with pytest.raises(CannotExport, match="never merged"):
            write(source, form, tmp_path / form)
    write(source, "peft", tmp_path / "peft")
    assert (tmp_path / "peft" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("packing", ["2bit", "base3"])
def test_an_adapter_on_ternary_weights_is_taken_in_and_merged(
    packing: Packing, tmp_path: Path
) -> None:
    base = find(str(write_ternary(tmp_path, "llama", 64, packing)), tmp_path / "cache")
    parts = [write_adapter(base, tmp_path / f"part{n}", seed=n).checkpoint for n in range(2)]
    assert check_adapter(parts[0].folder, base.folder, base.id).modules == 10
    merged = tmp_path / "merged"
    rank = merge_adapters(dict.fromkeys(parts, 0.5), base, "cat", merged, density=0.5, seed=0)
    assert rank == 8
    file = parts[0].folder / "adapter_model.safetensors"
    tensors = load_file(file)
    changed = {n: t[:-1].clone() if "lora_B" in n else t for n, t in tensors.items()}
    save_file(changed, file)
    with pytest.raises(ForeignError, match="in the base it is"):
        check_adapter(parts[0].folder, base.folder, base.id)
