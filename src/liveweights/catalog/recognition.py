"""Recognising a checkpoint that nobody named.

By the hashes of its files of weights, where a card has them: then it is that model. Else by the
shape in its config and by its vocabulary: then it is alike, and nothing is said of where its
weights are from, because models of one family share a shape, and so do others that have no card.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from liveweights.catalog.cards import Card
from liveweights.catalog.fingerprint import (
    Shape,
    is_of_type,
    read_shape,
    read_vocabulary,
    read_vocabulary_of_gguf,
    shape_of_gguf,
)
from liveweights.weights import hub
from liveweights.weights.content import HASHES, hash_files, weight_files
from liveweights.weights.gguf_header import is_first, read_header, split_files
from liveweights.weights.models import LARGEST_CONFIG, read_json
from liveweights.weights.tensors import open_tensors

SAME_SIZE = 1.25
"""A card's published number of parameters and that of the files differ by less than this factor:
makers round, and count embeddings, vision towers and drafting heads in or out."""
ADDED_TOKENS = 0.01
"""Share of its vocabulary that a fine-tune may have added to it."""

PACKED = 0.01
"""Share of integers among a checkpoint's values that are counters and positions, not weights."""
_INTEGERS = ("I", "U")
_HEAD = 4000
_SAID = (
    ("origin.json", "origin"),
    ("config.json", "_name_or_path"),
    ("adapter_config.json", "base_model_name_or_path"),
)

_SAID_BY_GGUF = (
    "general.name",
    "general.organization",
    "general.license",
    "general.base_model.0.repo_url",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a checkpoint's files show. ``weights`` are SHA-256 of the files of weights,
    ``parameters`` the number of values in them (None: packed, so not known)."""

    weights: frozenset[str]
    shape: Shape | None
    vocabulary: str | None
    parameters: int | None
    says: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """What a checkpoint is.

    ``by`` ``weights``: it is one of ``cards``, whose files it has. ``shape``: it is alike each of
    ``cards``. ``unknown``: no card is alike; ``reason`` says what is lacking. ``family`` is given
    where all cards are of one, ``parameters`` where all have the same number.
    """

    by: Literal["weights", "shape", "unknown"]
    cards: tuple[Card, ...] = ()
    family: str | None = None
    parameters: int | None = None
    reason: str
    says: tuple[str, ...] = ()


def read_evidence(path: Path, cache: Path) -> Evidence:
    """Read a checkpoint folder, or a GGUF file: alone in its folder, or named, of split files the
    first. All weights are hashed, safetensors once. Raises OSError, ValueError."""
    if path.is_dir() and not (path / "config.json").exists():
        firsts = [file for file in sorted(path.glob("*.gguf")) if is_first(file)]
        if len(firsts) > 1:
            raise ValueError(f"{path} holds {len(firsts)} GGUF models: name one, as {firsts[0]}")
        path = firsts[0] if firsts else path
    if path.suffix == ".gguf" and not path.is_dir():
        return _read_gguf(path)
    files = hash_files(path, cache / HASHES)
    hashes = {digest for name, digest in files.items() if name.endswith(".safetensors")}
    return Evidence(
        weights=frozenset(hashes),
        shape=read_shape(path),
        vocabulary=read_vocabulary(path),
        parameters=_parameters(path),
        says=tuple(_says(path)),
    )


def _read_gguf(file: Path) -> Evidence:
    parts = split_files(file)
    headers = [read_header(part) for part in parts]
    metadata = headers[0].metadata
    shapes = (shape for header in headers for shape in header.shapes.values())
    hashes: set[str] = set()
    for part in parts:
        with part.open("rb") as stream:
            hashes.add(hashlib.file_digest(stream, "sha256").hexdigest())
    said = ((key, metadata.get(key)) for key in _SAID_BY_GGUF)
    return Evidence(
        weights=frozenset(hashes),
        shape=shape_of_gguf(metadata),
        vocabulary=read_vocabulary_of_gguf(metadata),
        parameters=sum(math.prod(shape) for shape in shapes) or None,
        says=tuple(
            f"{file.name} says {key}: {text}" for key, text in said if isinstance(text, str)
        ),
    )


def recognise(evidence: Evidence, cards: Iterable[Card]) -> Recognition:
    """What is shown by the evidence, and nothing beyond."""
    known = list(cards)
    same = [card for card in known if evidence.weights and evidence.weights <= {*card.weights}]
    if same:
        return _found("weights", same, evidence, "its files of weights are those of the card")
    shape = evidence.shape
    if shape is None:
        return _unknown(evidence, "it has no config that names an architecture")
    if shape.layers is None or shape.hidden is None or shape.vocab is None:
        return _unknown(evidence, "its config does not name layers, hidden size and vocabulary")
    of_shape = [card for card in known if _has_shape(card, shape)]
    if not of_shape:
        return _unknown(evidence, f"no card has its shape: {say_shape(shape)}")
    sized = [card for card in of_shape if _has_size(card, evidence.parameters)]
    if not sized:
        count = f"{evidence.parameters:,} parameters"
        return _unknown(evidence, f"it has {count}; {_list(of_shape)}, of its shape, not so many")
    alike = [card for card in sized if _has_vocabulary(card, evidence.vocabulary)]
    if not alike:
        return _unknown(evidence, f"its shape is that of {_list(sized)}, its vocabulary is not")
    return _found("shape", alike, evidence, f"its shape is theirs: {say_shape(shape)}")


def say_shape(shape: Shape) -> str:
    numbers = (("layers", shape.layers), ("hidden", shape.hidden), ("vocab", shape.vocab))
    experts = [f"{shape.experts} experts"] if shape.experts else []
    return ", ".join([shape.model_type, *(f"{name} {one}" for name, one in numbers), *experts])


def _has_shape(card: Card, shape: Shape) -> bool:
    """Whether all that the shape has is known of the card, and the same; a fine-tune may have added
    some tokens."""
    if card.architecture is None or card.vocab is None or shape.vocab is None:
        return False
    return (
        is_of_type(shape, card.architecture.model_type)
        and (card.layers, card.hidden, card.experts) == (shape.layers, shape.hidden, shape.experts)
        and card.vocab <= shape.vocab <= card.vocab * (1 + ADDED_TOKENS)
    )


def _has_size(card: Card, parameters: int | None) -> bool:
    if parameters is None or card.parameters_total is None:
        return True
    larger, smaller = sorted((parameters, card.parameters_total), reverse=True)
    return larger < SAME_SIZE * smaller


def _has_vocabulary(card: Card, vocabulary: str | None) -> bool:
    return card.tokenizer is None or vocabulary is None or card.tokenizer == vocabulary


def _found(
    by: Literal["weights", "shape"], cards: list[Card], evidence: Evidence, reason: str
) -> Recognition:
    families = {card.family for card in cards}
    sizes = {card.parameters_total for card in cards}
    return Recognition(
        by=by,
        cards=tuple(cards),
        family=families.pop() if len(families) == 1 else None,
        parameters=sizes.pop() if len(sizes) == 1 else None,
        reason=reason,
        says=evidence.says,
    )


def _unknown(evidence: Evidence, reason: str) -> Recognition:
    return Recognition(by="unknown", reason=reason, says=evidence.says)


def _list(cards: Collection[Card]) -> str:
    return ", ".join(card.hub_id for card in cards)


def _parameters(folder: Path) -> int | None:
    """Number of values in the safetensors; None where there are none, or several share a number of
    the file, as integers do that are packed."""
    total = packed = 0
    for file in weight_files(folder):
        with open_tensors(file, "np") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                part = tensors.get_slice(name)
                count = math.prod(part.get_shape())
                total += count
                packed += count if part.get_dtype().startswith(_INTEGERS) else 0
    return total if packed <= PACKED * total and total else None


def _says(folder: Path) -> Iterator[str]:
    """What the files say of where they are from. Anybody may write that: it proves nothing."""
    if address := hub.origin(folder.resolve()):
        yield f"its folder is that of {address}"
    for name, member in _SAID:
        file = folder / name
        if not file.is_file() or file.stat().st_size > LARGEST_CONFIG:
            continue
        if isinstance(said := read_json(file).get(member), str) and said:
            yield f"{name} says {member}: {said}"
    if not (folder / "README.md").is_file():
        return
    with (folder / "README.md").open(encoding="utf-8", errors="replace") as readme:
        head = readme.read(_HEAD)
    for said in re.findall(r"^base_model:\s*(?:-\s*)?([\w./-]+)", head, flags=re.MULTILINE):
        yield f"README.md says base_model: {said}"
