"""TypeScript files of packages from npm, unpacked into a folder: what `corpus` is in Python."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from liveweights.replay.corpus import Corpus, Package, in_skipped_folder, is_permissive

_SKIPPED_FOLDERS = re.compile(
    r"(^|/)(__tests__|__mocks__|specs?|bench(mark)?s?|examples?|fixtures|node_modules)/"
)
_SKIPPED_NAMES = re.compile(
    r"(\.d\.[cm]?ts|[.-](test|spec|bench|stories)\.ts|(^|/)(test|spec)[.-][^/]*\.ts)$"
)


def read_packages(folder: Path, max_files: int = 120) -> Corpus:
    """The ``*.ts`` files below ``folder/NAME/package/``, where archives of npm are unpacked.

    Only packages with a permissive licence in ``package.json`` and its text beside are read.
    Raises OSError, ValueError for a ``package.json`` that cannot be read.
    """
    return Corpus.read(_sources(folder), max_files, "typescript")


def _sources(folder: Path) -> Iterator[tuple[Package, list[tuple[str, Path]]]]:
    for place in sorted(folder.glob("*/package/package.json")):
        root = place.parent
        described: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        licence = described.get("license")
        has_text = any(re.match(r"licen[cs]e", file.name, re.IGNORECASE) for file in root.iterdir())
        if not isinstance(licence, str) or not is_permissive(licence) or not has_text:
            continue
        paths = [(path.relative_to(root).as_posix(), path) for path in root.rglob("*.ts")]
        package = Package(described["name"], described["version"], licence)
        yield package, [item for item in paths if _is_wanted(item[0])]


def _is_wanted(path: str) -> bool:
    return not (
        in_skipped_folder(path) or _SKIPPED_FOLDERS.search(path) or _SKIPPED_NAMES.search(path)
    )
