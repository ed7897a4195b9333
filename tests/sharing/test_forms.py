"""Every form computes what the checkpoint does, in plain Transformers, PEFT and llama.cpp."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from liveweights.engines.llama.host import Host
from liveweights.engines.llama.process import LlamaProcess
from liveweights.sharing.forms import PRECISIONS, CannotExport, Form, write_form
from liveweights.sharing.source import Source
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.delta import encode as encode_delta
from liveweights.weights.delta import restore
from liveweights.weights.foreign import check_adapter
from liveweights.weights.gguf import Precision
from liveweights.weights.gguf_header import read_header

from .tiny import encode, make_base, read_logprobs, write_adapter

IDS = [40, 41, 200, 7, 99, 3, 3, 60]
NAME = "org/tiny"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = tmp_path_factory.mktemp("source")
    return write_adapter(make_base(folder), folder / "adapter")


@pytest.fixture(scope="module")
def ours(source: Source) -> torch.Tensor:
    """What an update computes with the checkpoint."""
    from liveweights.learn.policy import Policy
    from liveweights.learn.settings import LearnSettings

    policy = Policy(
        source.base.folder, source.checkpoint.folder, LearnSettings(device="cpu", dtype="float32")
    )
    logprobs = read_logprobs(policy.model, IDS)
    assert (logprobs - read_logprobs(_base(source), IDS)).abs().max() > 0.1
    return logprobs


def _base(source: Source) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(source.base.folder, trust_remote_code=False)


def write(source: Source, form: Form, folder: Path, **options: Any) -> Path:
    folder.mkdir()
    every: dict[str, Any] = {"precision": "f32", "base_name": NAME, **options}
    write_form(source, form, folder, **every)
    return folder


def test_a_peft_folder_names_its_base_and_no_path_of_this_machine(
    source: Source, ours: torch.Tensor, tmp_path: Path
) -> None:
    from peft import PeftModel

    folder = write(source, "peft", tmp_path / "out")
    model: Any = PeftModel.from_pretrained(_base(source), str(folder))
    assert (read_logprobs(model, IDS) - ours).abs().max() < 1e-4
    config = (folder / "adapter_config.json").read_text()
    assert json.loads(config)["base_model_name_or_path"] == NAME
    assert str(source.base.folder) not in config
    assert check_adapter(folder, source.base.folder, source.base.id).rank == 4


def test_merged_weights_load_in_plain_transformers(
    source: Source, ours: torch.Tensor, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = write(source, "merged", tmp_path / "out")
    model: Any = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False)
    assert (read_logprobs(model, IDS) - ours).abs().max() < 1e-4
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    assert (
        tokenizer("(a").input_ids
        == AutoTokenizer.from_pretrained(source.base.folder, trust_remote_code=False)(
            "(a"
        ).input_ids
    )


def test_tensors_that_are_no_numbers_with_fractions_do_not_hinder_merging(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    base = make_base(tmp_path)
    (file,) = base.folder.glob("*.safetensors")
    weights = {name: one.bfloat16() for name, one in load_file(file).items()}
    others = {"model.mask": torch.ones(4, dtype=torch.bool), "model.ids": torch.arange(4)}
    save_file(weights | others, file, metadata={"format": "pt"})
    folder = write(write_adapter(base, tmp_path / "adapter"), "merged", tmp_path / "out")
    merged = load_file(folder / "model.safetensors")
    assert {one.dtype for one in merged.values()} == {torch.bfloat16}


@pytest.mark.parametrize("form", ["gguf", "gguf-adapter"])
def test_llama_cpp_computes_the_same(
    source: Source, ours: torch.Tensor, tmp_path: Path, form: Form
) -> None:
    (file,) = write(source, form, tmp_path / "out").glob("*.gguf")
    if form == "gguf":
        theirs = ask_llama(file, None)
    else:
        whole = Source(source.checkpoint, source.base, source.base)
        (tmp_path / "base").mkdir()
        base = _write_base(whole, tmp_path / "base" / "base.gguf")
        theirs = ask_llama(base, file)
    assert len(theirs) > 50
    wanted = ours[-1].numpy()
    assert max(abs(wanted[id] - value) for id, value in theirs.items()) < 2e-2


ERRORS: dict[str, float] = {"f32": 1e-7, "f16": 1e-3, "bf16": 5e-3, "q8_0": 0.01}
"""Of what is stored, as a share of what it stands for; those with fewer bits err by more."""


@pytest.mark.parametrize("form", ["gguf", "gguf-adapter"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_gguf_is_of_the_precision_that_is_asked_for(
    source: Source, ours: torch.Tensor, tmp_path: Path, form: Form, precision: Precision
) -> None:
    import gguf

    (exact,) = write(source, form, tmp_path / "exact").glob("*.gguf")
    (file,) = write(source, form, tmp_path / "out", precision=precision).glob("*.gguf")
    assert f".{precision}." in file.name
    wanted = {one.name: one for one in gguf.GGUFReader(exact).tensors}
    stored = gguf.GGUFReader(file).tensors
    assert {one.name for one in stored} == wanted.keys()
    # Vectors stay as they are, and blocks do not divide the four columns of an adapter's B.
    ends = ("attn_q.weight", "attn_q.weight.lora_a")
    kinds = {one.tensor_type.name.lower() for one in stored if one.name.endswith(ends)}
    assert kinds == {precision}
    for one in stored:
        values = gguf.dequantize(one.data, one.tensor_type).ravel()
        meant = gguf.dequantize(wanted[one.name].data, wanted[one.name].tensor_type).ravel()
        error = np.linalg.norm(values - meant) / np.linalg.norm(meant)
        assert error < ERRORS.get(precision, 0.15), one.name
    theirs = (
        ask_llama(file, None)
        if form == "gguf"
        else ask_llama(_write_base(source, tmp_path / "base.gguf"), file)
    )
    logprobs = ours[-1].numpy()
    apart = [abs(logprobs[id] - value) for id, value in theirs.items()]
    assert sum(apart) / len(apart) < (2e-2 if precision in ERRORS else 0.3)


def _write_base(source: Source, file: Path) -> Path:
    from liveweights.weights.gguf import write_gguf

    write_gguf(source.base, file, "f32")
    return file


def ask_llama(model: Path, adapter: Path | None, ids: list[int] = IDS) -> dict[int, float]:
    """Log-probabilities of the likeliest tokens after ``ids``, by llama.cpp as its wheel has it."""

    async def ask() -> dict[int, float]:
        host = Host(
            gguf=str(model),
            adapter=str(adapter) if adapter else None,
            api_key="",
            context_length=64,
            slots=1,
            threads=1,
            cache_mib=0,
        )
        process = LlamaProcess("exported", host)
        await process.start()
        # What is drawn has to be whole text, else it is withheld; log-probabilities are as before.
        body = {"prompt": ids, "n_predict": 1, "n_probs": 64, "logit_bias": [[*encode("a"), 1e3]]}
        try:
            async with process.request("POST", "/completion", body) as response:
                response.raise_for_status()
                [step] = (await response.json())["completion_probabilities"]
                return {one["id"]: one["logprob"] for one in step["top_logprobs"]}
        finally:
            await process.stop()

    return asyncio.run(ask())


def test_tokens_of_an_exported_gguf_are_of_their_own_type(source: Source, tmp_path: Path) -> None:
    """For the engine those that end within a character are "user defined"; elsewhere their
    spelling would be shown for their bytes."""
    (source.base.folder / "chat_template.jinja").write_text("{{ messages }}")
    try:
        (file,) = write(source, "gguf", tmp_path / "out").glob("*.gguf")
    finally:
        (source.base.folder / "chat_template.jinja").unlink()
    metadata = read_header(file).metadata
    assert set(metadata["tokenizer.ggml.token_type"][:256]) == {1}
    assert metadata["tokenizer.chat_template"] == "{{ messages }}"


def test_whole_weights_leave_merged_and_not_as_an_adapter(source: Source, tmp_path: Path) -> None:
    merged = write(source, "merged", tmp_path / "merged")
    base = source.base
    encode_delta(base.folder, merged, tmp_path / "delta")
    (tmp_path / "delta" / "config.json").write_bytes((base.folder / "config.json").read_bytes())
    folder = restore(base.folder, tmp_path / "delta", "tiny@1", tmp_path / "cache")
    whole = Checkpoint("tiny@1", "full", folder, base.id, base.id)
    again = Source(whole, whole, base)
    with pytest.raises(CannotExport, match="is no adapter but whole weights"):
        write_form(again, "peft", tmp_path, precision="f32", base_name=NAME)
    with pytest.raises(CannotExport, match="nothing of it was learnt here"):
        write_form(Source(base, base, base), "merged", tmp_path, precision="f32", base_name=NAME)
    from liveweights.weights.tensors import Tensors

    out = write(again, "merged", tmp_path / "out")
    first, second = Tensors(merged), Tensors(out)
    assert first.names() == second.names()
    for name in first.names():
        np.testing.assert_array_equal(first.read(name).numpy(), second.read(name).numpy())
