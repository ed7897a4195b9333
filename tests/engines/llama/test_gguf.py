"""GGUF files as bases: served as they are, learnt from as they are."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.engines import reference
from tests.weights.gguf_files import FAMILIES, make_model, write_gguf

from liveweights.engines.llama.engine import LlamaEngine
from liveweights.engines.protocol import Constraint, EngineError, Sampling, Token
from liveweights.engines.settings import EngineSettings
from liveweights.learn.updaters.load import load_model
from liveweights.serve.api.tokenization import token_bytes
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import content_id, hash_files
from liveweights.weights.gguf_base import learning_obstacle
from liveweights.weights.models import find, load_tokenizer
from liveweights.weights.packaged import packaged_gguf

pytestmark = pytest.mark.model

SETTINGS = EngineSettings(context_length=256, slots=2, cache_mib=0)
PROMPT = "שלום 😀 def f(x):\n"
PRE = {"llama": "llama-bpe", "qwen2": "qwen2", "qwen3": "qwen2"}


def ask(engine: LlamaEngine, id: str, prompt: list[int], sampling: Sampling) -> Any:
    async def collect() -> list[Token]:
        return [token async for token in engine.generate(id, prompt, sampling)]

    return collect()


def is_partial(tokenizer: Any, id: int) -> bool:
    """Whether a token ends within a character."""
    try:
        token_bytes(tokenizer, id).decode()
    except UnicodeDecodeError:
        return True
    return False


def error_of(model: Any, prompt: list[int], tokens: list[Token]) -> float:
    expected = reference.raw_logprobs(model, prompt, [token.id for token in tokens])
    return float(np.abs(np.array([t.raw_logprob for t in tokens]) - expected).mean())


@pytest.mark.parametrize(
    ("family", "kind", "parts", "pre"),
    [
        ("llama", "q4_0", 1, "llama-bpe"), ("llama", "f16", 3, "llama-bpe"),
        ("llama", "q8_0", 1, "pieces"), ("llama", "f16", 2, "pieces"),
        ("qwen2", "q8_0", 3, "qwen2"), ("qwen2", "f16", 1, "qwen2"),
        ("qwen3", "q8_0", 1, "qwen2"), ("qwen3", "q4_0", 2, "qwen2"),
    ],
)  # fmt: skip
def test_every_token_comes_with_the_probability_of_the_trained_weights(
    family: str, kind: str, parts: int, pre: str, tmp_path: Path
) -> None:
    file = write_gguf(tmp_path / "m.gguf", family, kind, pre=pre, parts=parts)
    base = find(str(file), tmp_path / "cache")
    tokenizer: Any = load_tokenizer(base)
    prompt = tokenizer.encode(PROMPT)

    def halves(tokens: list[Token]) -> int:
        """Those that end within a letter, which its server would keep to itself."""
        return sum(is_partial(tokenizer, token.id) for token in tokens)

    async def answers() -> tuple[list[Token], list[Token], float]:
        engine = LlamaEngine(base, tmp_path / "cache", SETTINGS, tokenizer)
        try:
            await engine.load(base)
            for seed in range(20):  # what a seed draws is the processor's affair
                drawn = Sampling(max_tokens=96, temperature=1.0, top_k=64, seed=seed)
                free = await ask(engine, base.id, prompt, drawn)
                if halves(free) > 2:
                    break
            guided = Sampling(max_tokens=24, temperature=1.0, seed=1, logit_bias=((3, -5.0),))
            return free, await ask(engine, base.id, prompt, guided), engine.tolerance
        finally:
            await engine.close()

    free, guided, tolerance = asyncio.run(answers())
    model = load_model(base.folder, torch.float32, torch.device("cpu"))
    assert halves(free) > 2
    for tokens, most in ((free, 96), (guided, 24)):
        assert len(tokens) == most or tokens[-1].stop == "stop"
        assert error_of(model, prompt, tokens) <= tolerance


def adapt(base: Checkpoint, folder: Path) -> tuple[Checkpoint, Any]:
    """A random adapter on the base's own weights, and the model with it."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(7)
    settings = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear")
    model: Any = get_peft_model(
        load_model(base.folder, torch.float32, torch.device("cpu")), settings
    )
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.2)
    model.save_pretrained(folder)
    digest = content_id(hash_files(folder), base.id)
    adapter = Checkpoint(f"adapted@{digest}", "adapter", folder, base=base.id, parent=base.id)
    return adapter, model.eval()


@pytest.mark.parametrize(
    ("family", "pre"), [*((one, PRE[one]) for one in FAMILIES), ("llama", "pieces")]
)
def test_an_adapter_acts_on_the_file_as_it_was_trained(
    family: str, pre: str, tmp_path: Path
) -> None:
    base = find(str(write_gguf(tmp_path / "m.gguf", family, pre=pre)), tmp_path / "cache")
    tokenizer: Any = load_tokenizer(base)
    prompt = tokenizer.encode(PROMPT)
    adapter, model = adapt(base, tmp_path / "adapter")

    async def answer() -> tuple[list[Token], float]:
        engine = LlamaEngine(base, tmp_path / "cache", SETTINGS, tokenizer)
        try:
            await engine.load(adapter, base)
            sampling = Sampling(max_tokens=48, temperature=1.0, seed=1)
            return await ask(engine, adapter.id, prompt, sampling), engine.tolerance
        finally:
            await engine.close()

    tokens, tolerance = asyncio.run(answer())
    assert error_of(model, prompt, tokens) <= tolerance
    with model.disable_adapter():
        assert error_of(model, prompt, tokens) > 2 * tolerance


def test_a_tokenizer_that_splits_otherwise_than_llama_cpp_is_refused(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "m.gguf", pre="qwen2")
    base = find(str(file), tmp_path / "cache")
    other = find(str(write_gguf(tmp_path / "o.gguf", pre="smollm")), tmp_path / "cache")

    async def load(tokenizer: Any) -> None:
        engine = LlamaEngine(base, tmp_path / "cache", SETTINGS, tokenizer)
        try:
            await engine.load(base)
        finally:
            await engine.close()

    with pytest.raises(EngineError, match=r"not served: of .* makes \[.*\], llama\.cpp makes \["):
        asyncio.run(load(load_tokenizer(other)))
    assert not list((tmp_path / "cache").glob("gguf/*"))  # nothing was copied for it
    asyncio.run(load(load_tokenizer(base)))
    assert [file.name for file in (tmp_path / "cache" / "parity").iterdir()] == [base.id]


def test_values_that_are_no_numbers_are_refused_at_the_first_load(tmp_path: Path) -> None:
    model = make_model("llama", 400)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 5] = float("nan")
    file = write_gguf(tmp_path / "m.gguf", kind="f16", model=model)
    base = find(str(file), tmp_path / "cache")

    async def load() -> None:
        engine = LlamaEngine(base, tmp_path / "cache", SETTINGS)
        try:
            await engine.load(base)
        finally:
            await engine.close()

    for _ in range(2):  # it is not forgotten
        with pytest.raises(EngineError, match=r"blk\.1\.ffn_up\.weight.* invalid data"):
            asyncio.run(load())


def test_an_architecture_that_is_not_learnt_from_answers(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "m.gguf", architecture="smollm3")
    base = find(str(file), tmp_path / "cache")
    assert "'smollm3'; known are" in (learning_obstacle(base.folder) or "")

    async def answer() -> list[Token]:
        engine = LlamaEngine(base, tmp_path / "cache", EngineSettings(slots=1, threads=1))
        try:
            await engine.load(base)
            assert engine.context_length == 512  # by its metadata
            return await ask(engine, base.id, [5, 6, 7], Sampling(max_tokens=24, seed=1))
        finally:
            await engine.close()

    tokens = asyncio.run(answer())
    assert len(tokens) == 24 or tokens[-1].stop == "stop"


@pytest.fixture(scope="module")
def packaged(model_cache: Path) -> Checkpoint:
    """The packaged model's own file, as a base."""
    file = packaged_gguf()
    assert file is not None
    return find(str(file), model_cache)


def test_the_packaged_file_answers_in_letters_of_two_bytes(
    packaged: Checkpoint, base: Checkpoint, model_cache: Path
) -> None:
    tokenizer: Any = load_tokenizer(packaged)
    words = Constraint("lark", "start: /(שלום|😀|עולם| ){12}/")
    prompt = tokenizer.encode("Say it in Hebrew: ")

    async def answers() -> tuple[list[Token], list[Token], float]:
        engine = LlamaEngine(packaged, model_cache, SETTINGS, tokenizer)
        try:
            await engine.load(packaged)
            sampling = Sampling(max_tokens=120, temperature=1.0, seed=1, constraint=words)
            made = await ask(engine, packaged.id, prompt, sampling)
            # The same tokens once more, each by itself, without a guide.
            again = Sampling(max_tokens=60, temperature=1.2, seed=3)
            context = [*prompt, *(token.id for token in made[:40])]
            return made, await ask(engine, packaged.id, context, again), engine.tolerance
        finally:
            await engine.close()

    made, free, tolerance = asyncio.run(answers())
    text = "".join(token.text for token in made)
    assert set(text) <= set("שלוםע😀 ")
    assert text
    model = reference.read(base.folder)  # float32, of the same values
    assert error_of(model, prompt, made) <= tolerance
    context = [*prompt, *(token.id for token in made[:40])]
    assert len(free) == 60 or free[-1].stop == "stop"
    assert error_of(model, context, free) <= tolerance
