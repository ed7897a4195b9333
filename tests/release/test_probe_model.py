"""Probes of real adapters on a real engine: trained in torch, served in Q8_0."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from liveweights.release.probe import ProbeReport, probe
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.probes import read_probes
from liveweights.weights.registry import Registry, verify

pytestmark = pytest.mark.model

CODE = Path(__file__).read_text()
PROMPTS = [CODE[end - 200 : end] for end in range(300, 2100, 150)]


def make_adapters(base: Checkpoint, acting: Path, zeros: Path) -> None:
    """A LoRA adapter with random weights, and its probes, into ``acting``; into ``zeros`` the
    same probes with weights of zero."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from liveweights.weights.models import load_tokenizer

    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = load_tokenizer(base)
    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    config = LoraConfig(
        r=8, lora_alpha=16, target_modules=["q_proj", "k_proj", "v_proj", "up_proj"]
    )
    model = get_peft_model(model, config).eval()
    adapted = [weight for name, weight in model.named_parameters() if "lora_B" in name]
    with torch.no_grad():
        for weight in adapted:
            weight.normal_(std=0.03)
        probes = []
        for prompt in PROMPTS:
            ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
            ours_V = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            with model.disable_adapter():
                base_V = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
            top = ours_V.topk(16).indices.tolist()
            probes.append(
                {"prompt_ids": ids, "top": [[k, ours_V[k].item(), base_V[k].item()] for k in top]}
            )
        for folder in (acting, zeros):
            model.save_pretrained(str(folder))
            (folder / "probes.json").write_text(json.dumps({"probes": probes}))
            for weight in adapted:
                weight.zero_()


def test_an_adapter_that_acts_is_accepted_and_one_of_zeros_is_refused(
    base: Checkpoint, model_cache: Path, tmp_path: Path
) -> None:
    from liveweights.engines.llama.engine import LlamaEngine

    registry = Registry(tmp_path / "checkpoints")
    checkpoints: dict[str, Checkpoint] = {}
    make_adapters(base, tmp_path / "acting", tmp_path / "zeros")
    for name in ("acting", "zeros"):
        checkpoints[name] = registry.store(
            tmp_path / name, name, kind="adapter", base=base.id, parent=base.id, card={}
        )
        verify(checkpoints[name])

    async def go() -> dict[str, ProbeReport]:
        engine = LlamaEngine(base, model_cache)
        try:
            reports: dict[str, ProbeReport] = {}
            for name, checkpoint in checkpoints.items():
                await engine.load(checkpoint, base)
                probes = read_probes(checkpoint.folder)
                reports[name] = await probe(engine, checkpoint, probes)
            await engine.load(base)
            reports["base"] = await probe(engine, base, read_probes(base.folder))
            return reports
        finally:
            await engine.close()

    reports = asyncio.run(go())
    acting, zeros = reports["acting"], reports["zeros"]
    assert acting.ok, acting
    assert acting.compared >= 100
    assert acting.acting == pytest.approx(1.0, abs=0.3)
    assert not zeros.ok, zeros
    assert zeros.acting == pytest.approx(0.0, abs=0.3)
    assert "adapter does not act" in zeros.reason or "from the trainer" in zeros.reason
    assert reports["base"].ok, reports["base"]
