"""GGUF files as a base: a folder with config, tokenizer and chat template from their metadata.

The weights stay where they are; llama.cpp maps them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from liveweights.weights.content import HASHES, SOURCE, hash_file, source_files
from liveweights.weights.gguf_config import (
    ROPE_FACTORS,
    find_obstacle,
    make_config,
    yarn_parameters,
)
from liveweights.weights.gguf_header import Header, block_sizes, read_header, split_files
from liveweights.weights.gguf_tensors import read_tensor
from liveweights.weights.gguf_tokenizer import check_tokenizer, make_tokenizer
from liveweights.weights.staging import exclusive, publish, staged, write_whole
from liveweights.weights.tensors import BrokenFile

LAYOUT = 1
"""Raised when what is made of the metadata changes."""
_EXACT = (0, 1)
"""ggml's numbers of the types F32 and F16: llama.cpp computes with them as they are."""


def make_folder(first: Path, cache: Path) -> Path:
    """The folder in ``cache`` that stands for the GGUF of which ``first`` is the (first) file.

    Headers are read within the files' bounds and compared with them before any library sees them;
    contents are hashed at first use. Raises BrokenFile, OSError.
    """
    files = split_files(first)
    headers = [read_header(file) for file in files]
    _check(first, headers)
    digests = [hash_file(file, cache / HASHES) for file in files]
    whole = hashlib.sha256("\n".join(digests).encode()).hexdigest()[:16]
    target = cache / "models" / f"gguf-{whole}.v{LAYOUT}"
    with exclusive(target):
        if not target.is_dir():
            with staged(target) as folder:
                made = folder / "model"
                made.mkdir()
                try:
                    _write(files, headers, made)
                except Exception as error:  # whatever libraries find in what is not theirs
                    why = " ".join(str(error).split())[:300] or repr(error)
                    raise BrokenFile(
                        f"of the metadata of {first} no model is made: {why}"
                    ) from error
                publish(made, target)
        write_whole(target / SOURCE, json.dumps([str(file) for file in files]).encode())
    return target


def learning_obstacle(folder: Path) -> str | None:
    """Why nothing can be learnt on top of the GGUF files that ``folder`` stands for; None where it
    can be. Raises BrokenFile, OSError."""
    files = source_files(folder)
    headers = [read_header(file) for file in files]
    types = {kind for header in headers for kind in header.types.values()}
    if unknown := types - block_sizes().keys():
        return f"it has tensors of the type {min(unknown)}, which is not known here"
    return find_obstacle(headers[0].metadata, _names(headers), _rope_factors(files, headers))


def make_exact_config(folder: Path) -> dict[str, Any]:
    """The config with which Transformers computes what llama.cpp does of the GGUF files that
    ``folder`` stands for, YaRN included, which the folder's own is without.

    Raises BrokenFile where there is none, and says why; OSError.
    """
    files = source_files(folder)
    headers = [read_header(file) for file in files]
    facts, factors = dict(headers[0].metadata), _rope_factors(files, headers)
    tensors = _names(headers)
    yarn = None if factors else yarn_parameters(facts)
    if yarn is not None:
        del facts[f"{facts['general.architecture']}.rope.scaling.type"]
    if (obstacle := find_obstacle(facts, tensors, factors)) is not None:
        raise BrokenFile(f"Transformers would not compute what {files[0]} says: {obstacle}")
    config = make_config(facts, tensors, factors)
    return config if yarn is None else config | {"rope_parameters": yarn}


def is_exact(folder: Path) -> bool:
    """Whether the GGUF files that ``folder`` stands for hold no values that are quantised."""
    headers = [read_header(file) for file in source_files(folder)]
    return all(kind in _EXACT for header in headers for kind in header.types.values())


def _check(first: Path, headers: Sequence[Header]) -> None:
    """Raise BrokenFile where a header says what cannot be or what is not known here."""
    facts = headers[0].metadata
    architecture = facts.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise BrokenFile(f"{first} does not say its general.architecture")
    if why := check_tokenizer(facts):
        raise BrokenFile(f"{first} {why}")
    declared = facts.get("split.count", 0) or 1
    if declared != len(headers):
        raise BrokenFile(f"{first} is one of {declared} files, of which {len(headers)} are named")
    shapes: dict[str, tuple[int, ...]] = {}
    for header in headers:
        if twice := shapes.keys() & header.shapes.keys():
            raise BrokenFile(f"{first} and its other parts have the tensor {min(twice)!r} twice")
        shapes |= header.shapes
    count = len(facts["tokenizer.ggml.tokens"])
    width = facts.get(f"{architecture}.embedding_length")
    embedding = shapes.get("token_embd.weight")
    if embedding != (width, count):
        raise BrokenFile(
            f"{first} has embeddings of the shape {embedding}, where its header says {width} "
            f"values for each of {count} tokens"
        )
    layers = facts.get(f"{architecture}.block_count")
    there = {name.split(".")[1] for name in shapes if name.startswith("blk.")}
    if there != {str(n) for n in range(len(there))} or layers != len(there):
        raise BrokenFile(f"{first} has {len(there)} layers, where its header says {layers}")


def _write(files: Sequence[Path], headers: Sequence[Header], folder: Path) -> None:
    facts = headers[0].metadata
    tensors = _names(headers)
    config = make_config(facts, tensors, _rope_factors(files, headers))
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True))
    names = ("eos", "eot", "eom")
    ends = [facts.get(f"tokenizer.ggml.{name}_token_id") for name in names]
    ends = sorted({end for end in ends if type(end) is int})
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    make_tokenizer(facts).save_pretrained(folder)
    licence = facts.get("general.license")
    said = {"licence": licence} if isinstance(licence, str) and licence else {}
    (folder / "origin.json").write_text(json.dumps({"origin": files[0].name, **said}))


def _names(headers: Sequence[Header]) -> list[str]:
    """Of all tensors."""
    return [name for header in headers for name in header.shapes]


def _rope_factors(files: Sequence[Path], headers: Sequence[Header]) -> list[float]:
    """The values of ``rope_freqs.weight``; none where there is none."""
    for file, header in zip(files, headers, strict=True):
        if math.prod(header.shapes.get(ROPE_FACTORS, (0,))):
            return read_tensor(file, header, ROPE_FACTORS).ravel().tolist()
    return []
