"""An engine is held to what Transformers compute of weights that were brought."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from liveweights.catalog.template import TemplateSettings
from liveweights.learn.settings import LearnSettings
from liveweights.sharing.finetuned import take_finetuned
from liveweights.sharing.probing import write_probes
from liveweights.sharing.source import Source
from liveweights.weights.probes import Probes, read_probes

from .tiny import make_base, read_logprobs, write_adapter

SETTINGS = LearnSettings(device="cpu", dtype="float32", threads=1, probes=8)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = tmp_path_factory.mktemp("source")
    base = make_base(folder)
    return write_adapter(base, folder / "adapter")


def check(probes: Probes | None, changed: Path, source: Source) -> None:
    """What is noted is what plain Transformers say."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    assert probes is not None
    assert len(probes.probes) == 8
    base = AutoModelForCausalLM.from_pretrained(source.base.folder, trust_remote_code=False)
    before = [read_logprobs(base, one.prompt_ids)[-1] for one in probes.probes]
    if (changed / "adapter_config.json").exists():
        model = PeftModel.from_pretrained(base, str(changed))
    else:
        model = AutoModelForCausalLM.from_pretrained(changed, trust_remote_code=False)
    apart = 0.0
    for one, base_V in zip(probes.probes, before, strict=True):
        ours_V = read_logprobs(model, one.prompt_ids)[-1]
        for token, ours, theirs in one.top:
            assert ours == pytest.approx(float(ours_V[token]), abs=1e-3)
            assert theirs == pytest.approx(float(base_V[token]), abs=1e-3)
            apart = max(apart, abs(ours - theirs))
    assert apart > 0.05


def test_of_an_adapter(source: Source, tmp_path: Path) -> None:
    folder = tmp_path / "staging"
    folder.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_bytes((source.checkpoint.folder / name).read_bytes())
    write_probes(source.base.folder, folder, "adapter", SETTINGS, TemplateSettings())
    check(read_probes(folder), source.checkpoint.folder, source)


def test_of_whole_weights(source: Source, tmp_path: Path) -> None:
    tuned, folder = tmp_path / "tuned", tmp_path / "staging"
    tuned.mkdir()
    folder.mkdir()
    tensors = load_file(source.base.folder / "model.safetensors")
    torch.manual_seed(1)
    changed = {n: t + 0.02 * torch.randn_like(t) for n, t in tensors.items()}
    save_file(changed, tuned / "model.safetensors", metadata={"format": "pt"})
    (tuned / "config.json").write_bytes((source.base.folder / "config.json").read_bytes())
    take_finetuned(tuned, source.base, folder)
    write_probes(source.base.folder, folder, "full", SETTINGS, TemplateSettings())
    check(read_probes(folder), tuned, source)
