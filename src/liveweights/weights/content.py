"""Naming checkpoints by their content: everything in a folder that changes an answer."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

from liveweights.weights.staging import write_whole

HASHES = "hashes"
"""The folder in the cache where the hashes of known files are."""
DIGITS = 12
"""Hex digits of the content hash in a checkpoint's id."""

SOURCE = "gguf.source"
"""Of a folder that stands for GGUF files: their paths, as a JSON list. No id covers it, but the
files: one that is moved stays the same."""

COVERED = (
    "*.safetensors", "*.json", "*.jinja", "additional_chat_templates/*.jinja",
    "*.model", "*.spm", "*.codes", "*.tiktoken", "*.tokenizer",
    "vocab*", "merges*", "dict.txt",
)  # fmt: skip
"""Weights, configuration, generation config, tokenizer (every name that one of Transformers' has
for its files), chat templates, and the rule that decides what is shown (``selection.json``)."""

ABOUT = frozenset({"card.json", "origin.json", "probes.json", "trainer_state.json"})
"""JSON files that say something of a checkpoint and change no answer."""


class NotPlainFile(ValueError):
    """A checkpoint's file is a pipe, a device, a socket or a link to nothing; names it."""


def covers(name: str) -> bool:
    """Whether a file of that name, relative to the folder, changes what a checkpoint answers."""
    if name in ABOUT:
        return False
    depth = name.count("/")
    return any(pattern.count("/") == depth and fnmatch(name, pattern) for pattern in COVERED)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint folder, in order of name."""
    return sorted(folder.glob("*.safetensors"))


def source_files(folder: Path) -> list[Path]:
    """The GGUF files that hold the weights of a folder, the first first; none where it has weights
    of its own, whatever else is in it."""
    if weight_files(folder):
        return []
    try:
        return [Path(path) for path in json.loads((folder / SOURCE).read_text())]
    except FileNotFoundError:
        return []


def covered_files(folder: Path) -> dict[str, Path]:
    """The files that the folder's id covers, by name, in order.

    Raises NotPlainFile for what is no file: reading it might never end. That is said of every
    entry, also of those that no id covers, since libraries look at some of them.
    """
    files: dict[str, Path] = {}
    for path in (*folder.iterdir(), *(folder / "additional_chat_templates").glob("*")):
        name = path.relative_to(folder).as_posix()
        try:
            mode = path.stat().st_mode
        except OSError as error:
            if not covers(name):
                continue
            raise NotPlainFile(f"{path} cannot be read: {error.strerror}") from error
        if stat.S_ISREG(mode):
            if covers(name):
                files[name] = path
        elif not stat.S_ISDIR(mode) or covers(name):
            raise NotPlainFile(f"{path} is not a file")
    return dict(sorted(files.items()))


def name_of(model: str) -> str:
    """A checkpoint name made of the last part of a path or hub id: ``[a-z0-9._-]+``."""
    last = model.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^a-z0-9._-]+", "-", last.lower()).strip("-.") or "model"


def hash_files(folder: Path, hash_folder: Path | None = None) -> dict[str, str]:
    """SHA-256 of each file that the folder's id covers, 64 hex digits by name, in order; with them
    those of the GGUF files that it stands for.

    Reading gigabytes at every start is slow: with ``hash_folder``, a folder for it, hashes are kept
    there together with size and times (modification, change) of each file, and computed again
    where one of them differs. Raises OSError, NotPlainFile.
    """
    place = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]
    beside = hash_folder / f"{place}.json" if hash_folder else None
    before = _read(beside) if beside else {}
    now: dict[str, tuple[list[int], str]] = {}
    for name, file in covered_files(folder).items():
        status = file.stat()
        identity = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        seen, digest = before.get(name, (None, ""))
        if seen != identity:
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        now[name] = (identity, digest)
    if beside and now != before:
        write_whole(beside, json.dumps(now).encode())
    hashes = {name: digest for name, (_, digest) in now.items()}
    for number, file in enumerate(source_files(folder), 1):
        hashes[f"{number:05}.gguf"] = hash_file(file, hash_folder)
    return hashes


def hash_file(file: Path, hash_folder: Path | None = None) -> str:
    """SHA-256 of a file, kept in ``hash_folder`` as ``hash_files`` does. Raises OSError,
    NotPlainFile."""
    if not file.is_file():
        raise NotPlainFile(f"{file} is not a file, or not there")
    status = file.stat()
    identity = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    place = hashlib.sha256(os.fsencode(file.absolute())).hexdigest()[:16]
    beside = hash_folder / f"{place}.json" if hash_folder else None
    seen, digest = (_read(beside) if beside else {}).get("", (None, ""))
    if seen != identity:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if beside:
            write_whole(beside, json.dumps({"": (identity, digest)}).encode())
    return digest


def content_id(files: Mapping[str, str], base: str | None = None) -> str:
    """The digits of an id: SHA-256 over names and hashes of the files, cut.

    What an adapter or a difference answers depends on the checkpoint that it belongs to: the
    ``base``'s id is a part of theirs.
    """
    lines = "".join(f"{name}\0{digest}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(f"{base or ''}\n{lines}".encode()).hexdigest()[:DIGITS]


def changes(listed: Mapping[str, str], there: Mapping[str, str]) -> list[tuple[str, str]]:
    """What differs between two hashings of a folder: (name, changed, missing or added)."""
    return [
        (name, "missing" if name not in there else "added" if name not in listed else "changed")
        for name in sorted(listed.keys() | there.keys())
        if listed.get(name) != there.get(name)
    ]


def _read(beside: Path) -> dict[str, tuple[list[int], str]]:
    try:
        kept: dict[str, tuple[list[int], str]] = json.loads(beside.read_text())
        return {name: (list(identity), str(digest)) for name, (identity, digest) in kept.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # nothing yet, or not one of ours: compute it
