"""A GGUF file as a base model: config, tokenizer and chat template from its metadata.

The weights stay where they are; llama.cpp maps them. Names of pre-tokenizers are llama.cpp's
(``llama-vocab.cpp``).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from liveweights.weights.content import HASHES
from liveweights.weights.gguf_header import Header, read_header, split_files
from liveweights.weights.gguf_source import HASHED, SOURCE
from liveweights.weights.packaged import read_once
from liveweights.weights.staging import exclusive, publish, staged, write_whole
from liveweights.weights.tensors import BrokenFile

LAYOUT = 1
"""Raised when what is made of the metadata changes."""

CLASSES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
"""Architectures that both Transformers and llama.cpp read, and their classes."""

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS: Mapping[str, str | None] = {
    "smollm": None,
    "gpt-2": None,
    "llama-bpe": _WORDS % "{1,3}",
    "qwen2": _WORDS % "",
}
"""Pre-tokenizers that a tokenizer is made for, and how they split where GPT-2's way is not it."""


def make_folder(first: Path, cache: Path) -> Path:
    """The folder in ``cache`` that stands for the GGUF of which ``first`` is the (first) file.

    Headers are read within the files' bounds and compared with them before any library sees them;
    contents are hashed at first use. Raises BrokenFile, OSError.
    """
    files = split_files(first)
    headers = [read_header(file) for file in files]
    _check(first, headers)
    digests = [_digest(file, cache / HASHES) for file in files]
    whole = hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16]
    target = cache / "models" / f"gguf-{whole}.v{LAYOUT}"
    with exclusive(target):
        if not target.is_dir():
            with staged(target) as folder:
                made = folder / "model"
                made.mkdir()
                _write(first, headers, made)
                (made / HASHED).write_text(json.dumps(digests))
                publish(made, target)
        write_whole(target / SOURCE, json.dumps([str(file) for file in files]).encode())
    return target


def _check(first: Path, headers: Sequence[Header]) -> None:
    """Raise BrokenFile where a header says what cannot be or what is not known here."""
    facts = headers[0].metadata
    architecture = facts.get("general.architecture")
    if architecture not in CLASSES:
        known = ", ".join(CLASSES)
        raise BrokenFile(f"{first} is of the architecture {architecture!r}; known are {known}")
    kind, pre = facts.get("tokenizer.ggml.model"), facts.get("tokenizer.ggml.pre")
    if kind != "gpt2" or pre not in SPLITS:
        raise BrokenFile(
            f"{first} has a tokenizer of the kind {kind!r} with the pre-tokenizer {pre!r}; "
            f"made are those of the kind 'gpt2' with {', '.join(SPLITS)}"
        )
    declared = facts.get("split.count", 0)
    if declared > 1 and declared != len(headers):
        raise BrokenFile(f"{first} is one of {declared} files, of which {len(headers)} are named")
    shapes = {name: shape for header in headers for name, shape in header.shapes.items()}
    tokens, width = (
        facts.get("tokenizer.ggml.tokens"),
        facts.get(f"{architecture}.embedding_length"),
    )
    embedding = shapes.get("token_embd.weight")
    if not isinstance(tokens, list) or embedding != (width, len(tokens)):
        count = len(tokens) if isinstance(tokens, list) else 0
        raise BrokenFile(
            f"{first} has embeddings of the shape {embedding}, where its header says {width} "
            f"values for each of {count} tokens"
        )
    layers = facts.get(f"{architecture}.block_count")
    there = {name.split(".")[1] for name in shapes if name.startswith("blk.")}
    if there != {str(n) for n in range(len(there))} or layers != len(there):
        raise BrokenFile(f"{first} has {len(there)} layers, where its header says {layers}")
    # No quantisation that llama.cpp has takes less than a bit for a value.
    values = sum(math.prod(shape) for shape in shapes.values())
    size = sum(file.stat().st_size for file in split_files(first))
    if values > 8 * size:
        raise BrokenFile(f"{first} says that it holds {values:,} values in {size:,} bytes")


def _digest(file: Path, hash_folder: Path) -> str:
    """SHA-256 of a file, kept with its size and times so that it is read once."""
    status = file.stat()
    identity = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    place = hashlib.sha256(str(file.absolute()).encode()).hexdigest()[:16]
    beside = hash_folder / f"{place}.gguf.json"
    try:
        seen, digest = json.loads(beside.read_text())
        if seen == identity:
            return str(digest)
    except (OSError, ValueError, TypeError):
        pass  # nothing yet, or not one of ours
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    write_whole(beside, json.dumps([identity, digest]).encode())
    return digest


def _write(first: Path, headers: Sequence[Header], folder: Path) -> None:
    from transformers import AutoConfig, AutoTokenizer

    facts = headers[0].metadata
    source: dict[str, Any] = {"gguf_file": first.name}
    try:
        with contextlib.redirect_stderr(io.StringIO()), read_once(first):
            tokenizer: Any = AutoTokenizer.from_pretrained(
                first.parent, trust_remote_code=False, **source
            )
            config: Any = AutoConfig.from_pretrained(
                first.parent, trust_remote_code=False, **source
            )
    except Exception as error:  # whatever the library finds in a file that is not its own
        said = " ".join(str(error).split())[:300]
        raise BrokenFile(f"Transformers cannot read the metadata of {first}: {said}") from error
    _split_as(tokenizer, facts["tokenizer.ggml.pre"])
    settings = config.to_dict()
    for key in ("quantization_config", "_name_or_path"):
        settings.pop(key, None)
    settings |= {
        "architectures": [CLASSES[facts["general.architecture"]]],
        "dtype": "float32",
        "tie_word_embeddings": not any("output.weight" in header.shapes for header in headers),
    }
    (folder / "config.json").write_text(json.dumps(settings, indent=2, sort_keys=True))
    names = ("eos", "eot", "eom")
    ends = [facts.get(f"tokenizer.ggml.{name}_token_id") for name in names]
    ends = sorted({end for end in ends if isinstance(end, int)})
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    tokenizer.save_pretrained(folder)


def _split_as(tokenizer: Any, pre: str) -> None:
    # Transformers gives every tokenizer of this kind GPT-2's own way of splitting.
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

    pattern = SPLITS[pre]
    own = ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    steps: list[Any] = [own]
    if pre == "smollm":
        steps = [Digits(individual_digits=True), own]
    elif pattern is not None:
        steps = [Split(Regex(pattern), behavior="isolated"), own]
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(steps)
    if pre == "llama-bpe":
        tokenizer.backend_tokenizer.model.ignore_merges = True
