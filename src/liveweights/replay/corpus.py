"""Real files of code: Python's that are on every machine, the standard library and installed
packages, and those of packages in other languages that a benchmark fetched (`npm`).

Only permissively licensed distributions are read. ``Corpus.split`` divides them into training
files, held-out files (of the same packages) and held-out packages (of which no file is trained
on), and drops every training file that repeats much of a held-out one.
"""

from __future__ import annotations

import hashlib
import platform
import re
import sysconfig
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePosixPath

from liveweights.replay.developer import Language

STANDARD_LIBRARY = "python"

_PERMISSIVE = re.compile(
    r"\b(MIT|BSD|0BSD|Apache|ISC|ISCL|PSF|PSF-2\.0|Python Software Foundation|HPND|MIT-CMU|"
    r"Unlicense|Zlib|CNRI-Python)\b",
    re.IGNORECASE,
)
_NOT_PERMISSIVE = re.compile(
    r"GPL|MPL|Mozilla|EUPL|GNU|Eclipse|Proprietary|Commercial|NVIDIA|Creative", re.IGNORECASE
)
_SKIPPED_FOLDERS = re.compile(
    r"^(_?vendor|_?vendored|third_party|extern|_?externals?|tests?|testing|_testing|"
    r"_?idle_test|lib2to3|pydoc_data|encodings|site-packages|dist-packages|__pycache__|"
    r"config-.*|locales?|_?generated)$"
)
_SKIPPED_NAMES = re.compile(
    r"^(test_.*|.*_tests?|conftest|_?version|setup|.*_pb2|_sysconfigdata.*|.*_generated|"
    r"_?generated_.*|.*unicode_?data.*|.*tables?|.*_data|symbol|token|keyword)\.py$"
)
_GENERATED = re.compile(
    r"(auto(matically)?[- ]?generated|generated (by|from|file|code)|do not edit)", re.IGNORECASE
)
# How lines begin that tell files of a language apart from no other.
_COMMON: dict[Language, tuple[str, ...]] = {
    "python": ("#", "import ", "from ", '"""'),
    "typescript": ("//", "/*", "*", "import ", "export * from "),
}
_MIN_LINES, _MAX_LINES, _LONGEST_LINE = 60, 2500, 300
_MIN_CHARS, _MAX_CHARS = 2_000, 120_000
# Share of distinct code lines of the smaller file that makes two files near-duplicates.
_OVERLAP = 0.35


@dataclass(frozen=True, slots=True)
class Package:
    """A distribution whose files may be replayed, with the licence its metadata states."""

    name: str
    version: str
    licence: str


@dataclass(frozen=True)
class SourceFile:
    """One file; ``path`` is relative to the folder that the package is installed in."""

    package: str
    path: str
    text: str
    language: Language = "python"

    @property
    def name(self) -> str:
        """Unique within a corpus: package and path."""
        return f"{self.package}:{self.path}"

    @cached_property
    def lines(self) -> frozenset[str]:
        """The distinct code lines that tell files apart: without indentation, comments,
        imports and lines too short to be anybody's own."""
        kept = set[str]()
        for line in self.text.splitlines():
            line = " ".join(line.split())
            if len(line) >= 16 and not line.startswith(_COMMON[self.language]):
                kept.add(line)
        return frozenset(kept)


@dataclass(frozen=True, slots=True)
class Split:
    """Three sets of files without a shared or nearly shared text between training and the rest.

    ``training`` and ``held_out_files`` are of the same packages; ``held_out_packages`` are all
    files of packages that ``training`` has no file of. Each is in a random but fixed order.
    """

    training: tuple[SourceFile, ...]
    held_out_files: tuple[SourceFile, ...]
    held_out_packages: tuple[SourceFile, ...]
    dropped: int
    """Training files that were left out for repeating a held-out one."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """The files, at most ``max_files`` of a package, and what the packages are."""

    packages: tuple[Package, ...]
    files: tuple[SourceFile, ...]

    @classmethod
    def find(cls, max_files: int = 120) -> Corpus:
        """Read the standard library of this interpreter and the packages installed beside it.

        Takes a few seconds; raises RuntimeError where there is too little to replay.
        """
        corpus = cls.read(_sources(), max_files)
        if len(corpus.files) < 50:
            raise RuntimeError(
                f"only {len(corpus.files)} Python files are fit for replay here; is the standard "
                f"library installed as source at {sysconfig.get_path('stdlib')}?"
            )
        return corpus

    @classmethod
    def read(
        cls,
        sources: Iterable[tuple[Package, Sequence[tuple[str, Path]]]],
        max_files: int,
        language: Language = "python",
    ) -> Corpus:
        """The files of packages, each given as its path in the package and where it is, that
        somebody might type: neither generated, nor tables, nor there already.

        Which ``max_files`` files of a large package are taken depends on their paths only.
        """
        packages, files = list[Package](), list[SourceFile]()
        seen = set[str]()
        for package, paths in sources:
            kept = 0
            for relative, path in sorted(paths, key=lambda item: _rank(item[0])):
                if kept == max_files:
                    break
                text = _read(path)
                if text is None:
                    continue
                digest = _rank(re.sub(r"\s+", " ", text))
                if digest in seen:
                    continue
                seen.add(digest)
                files.append(SourceFile(package.name, relative, text, language))
                kept += 1
            if kept:
                packages.append(package)
        return cls(tuple(packages), tuple(files))

    def split(
        self,
        seed: int = 0,
        *,
        held_out_files: float = 0.25,
        held_out_packages: float = 0.2,
        exclude: frozenset[str] = frozenset(),
    ) -> Split:
        """Divide the files; the same corpus, seed and shares give the same split.

        ``held_out_packages`` is the share of packages (with at least three files; never the
        standard library, which others build on) and ``held_out_files`` the share of the files
        of the remaining ones. Packages in ``exclude`` are in no part.
        """
        files = [file for file in self.files if file.package not in exclude]
        counts = Counter(file.package for file in files)
        candidates = sorted(
            (name for name, count in counts.items() if count >= 3 and name != STANDARD_LIBRARY),
            key=lambda name: _rank(f"{seed}:package:{name}"),
        )
        outside = frozenset(candidates[: max(1, round(len(candidates) * held_out_packages))])
        inside = [file for file in files if file.package not in outside]
        by_package = defaultdict[str, list[SourceFile]](list)
        for file in inside:
            by_package[file.package].append(file)
        held, train = list[SourceFile](), list[SourceFile]()
        for members in by_package.values():
            members.sort(key=lambda file: _rank(f"{seed}:{file.name}"))
            # A package with a single file or two stays on the training side.
            cut = round(len(members) * held_out_files) if len(members) >= 3 else 0
            held += members[:cut]
            train += members[cut:]
        unseen = [file for file in files if file.package in outside]
        held = _distinct(_shuffled(held, seed))
        unseen = _distinct(_shuffled(unseen, seed))
        train = _shuffled(train, seed)
        repeated = _repeating(train, [*held, *unseen])
        kept = [file for file in train if file.name not in repeated]
        return Split(tuple(kept), tuple(held), tuple(unseen), len(train) - len(kept))


def is_permissive(licence: str) -> bool:
    """Whether files under a licence, by its expression or name, may be replayed."""
    return bool(_PERMISSIVE.search(licence)) and not _NOT_PERMISSIVE.search(licence)


def _repeating(files: Iterable[SourceFile], others: Sequence[SourceFile]) -> set[str]:
    """Names of ``files`` that overlap heavily with one of ``others``."""
    index = defaultdict[str, list[int]](list)
    for number, other in enumerate(others):
        for line in other.lines:
            index[line].append(number)
    repeated = set[str]()
    for file in files:
        shared = Counter[int]()
        for line in file.lines:
            shared.update(index.get(line, ()))
        if any(
            count >= _OVERLAP * min(len(file.lines), len(others[number].lines))
            for number, count in shared.items()
        ):
            repeated.add(file.name)
    return repeated


def _distinct(files: Sequence[SourceFile]) -> list[SourceFile]:
    """``files`` without those that repeat much of an earlier one."""
    kept = list[SourceFile]()
    index = defaultdict[str, list[int]](list)
    for file in files:
        shared = Counter[int]()
        for line in file.lines:
            shared.update(index.get(line, ()))
        if any(
            count >= _OVERLAP * min(len(file.lines), len(kept[number].lines))
            for number, count in shared.items()
        ):
            continue
        for line in file.lines:
            index[line].append(len(kept))
        kept.append(file)
    return kept


def _shuffled(files: Iterable[SourceFile], seed: int) -> list[SourceFile]:
    return sorted(files, key=lambda file: _rank(f"{seed}:order:{file.name}"))


def _rank(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _sources() -> Iterator[tuple[Package, list[tuple[str, Path]]]]:
    """Every permissively licensed package with its Python files, vendored copies left out."""
    root = Path(sysconfig.get_path("stdlib"))
    library = [(path.relative_to(root).as_posix(), path) for path in root.rglob("*.py")]
    python = Package(STANDARD_LIBRARY, platform.python_version(), "PSF-2.0")
    yield python, [item for item in library if _is_wanted(item[0])]
    taken = {"liveweights"}
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    installed = list(distributions(path=sorted(folders)))
    for distribution in sorted(installed, key=lambda item: _name(item).lower()):
        name, licence = _name(distribution), _licence(distribution)
        if not name or name.lower() in taken:
            continue
        taken.add(name.lower())
        if not is_permissive(licence):
            continue
        paths = [
            (file.as_posix(), Path(str(distribution.locate_file(file))))
            for file in distribution.files or ()
            if file.suffix == ".py" and ".." not in file.parts and _is_wanted(file.as_posix())
        ]
        yield Package(name, distribution.version, licence), paths


def _name(distribution: Distribution) -> str:
    return _field(distribution, "Name")


def _field(distribution: Distribution, key: str) -> str:
    return (distribution.metadata.get_all(key) or [""])[0]


def _licence(distribution: Distribution) -> str:
    """The SPDX expression, else the trove classifiers, else the first line of the old field."""
    if expression := _field(distribution, "License-Expression"):
        return expression
    classifiers = [
        entry.rpartition(" :: ")[2]
        for entry in distribution.metadata.get_all("Classifier") or ()
        if entry.startswith("License :: ") and not entry.endswith("OSI Approved")
    ]
    if classifiers:
        return ", ".join(classifiers)
    return _field(distribution, "License").strip().partition("\n")[0][:80]


def in_skipped_folder(path: str) -> bool:
    """Whether a path leads through a folder of tests, vendored or generated files."""
    return any(_SKIPPED_FOLDERS.match(part) for part in PurePosixPath(path).parts[:-1])


def _is_wanted(path: str) -> bool:
    """Whether a path is neither a test nor a vendored, generated or tabular file."""
    return not in_skipped_folder(path) and not _SKIPPED_NAMES.match(PurePosixPath(path).name)


def _read(path: Path) -> str | None:
    """The text with unix line ends, or None for what nobody would type top to bottom."""
    try:
        if not _MIN_CHARS <= path.stat().st_size <= _MAX_CHARS:
            return None
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    text = text.replace("\r\n", "\n").expandtabs(4)
    lines = text.split("\n")
    if not _MIN_LINES <= len(lines) <= _MAX_LINES or max(map(len, lines)) > _LONGEST_LINE:
        return None
    if _GENERATED.search("\n".join(lines[:15])) or "\r" in text or "\f" in text:
        return None
    return None if _is_table(lines) else text


def _is_table(lines: Sequence[str]) -> bool:
    """Whether most lines are literals in a row rather than statements."""
    filled = [line.strip() for line in lines if line.strip()]
    literal = sum(1 for line in filled if line[0] in "0123456789'\"({[-\\u" and line[-1] in ",]})")
    return literal > 0.4 * len(filled)
