"""The files in which licences are: what they ask to be handed on with the weights."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from liveweights.weights.content import source_files

_NAMES = ("license", "licence", "notice", "copying", "use_policy", "use-policy")
"""What their names begin with, however they are spelt."""
_FILE = re.compile("|".join(_NAMES), re.IGNORECASE)
PATTERNS = tuple(
    "".join(f"[{letter}{letter.upper()}]" if letter.isalpha() else letter for letter in name) + "*"
    for name in _NAMES
)
"""The same for ``fnmatch``, which looks at the case; with all that is in folders named so."""
_STANDARD = "apache-2.0"
"""The licence whose text is the same everywhere, and this package's own."""


def find_licence_files(folder: Path) -> dict[str, Path]:
    """The licence files of a folder of weights, by name within it, in order; where it stands for
    GGUF files, those beside them, unless other GGUF files are there too. Links are followed.
    Raises OSError."""
    found = dict(_find(folder))
    weights = source_files(folder)
    if found or not weights:
        return found
    beside = weights[0].parent
    theirs = {file.name for file in weights}
    if any(file.name not in theirs for file in beside.glob("*.gguf")):
        return {}
    return dict(_find(beside))


def copy_licence_files(folder: Path, target: Path, licence: str) -> list[str]:
    """Copy them to ``target``; the names there. Where there is none and ``licence`` has a text of
    its own for no model, that is written. Raises OSError."""
    found = find_licence_files(folder)
    for name, file in found.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target / name)
    if found or licence.lower() != _STANDARD:
        return list(found)
    text = importlib.metadata.distribution("liveweights").read_text("licenses/LICENSE")
    if text is None:
        return []
    (target / "LICENSE").write_text(text, encoding="utf-8")
    return ["LICENSE"]


def _find(folder: Path) -> Iterator[tuple[str, Path]]:
    for entry in sorted(folder.iterdir()):
        if not _FILE.match(entry.name):
            continue
        if entry.is_file():
            yield entry.name, entry
        elif entry.is_dir() and not entry.is_symlink():
            for place, folders, names in os.walk(entry):
                folders.sort()
                for file in (Path(place, name) for name in sorted(names)):
                    if file.is_file():
                        yield file.relative_to(folder).as_posix(), file
