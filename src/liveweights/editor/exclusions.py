"""Files of which nothing leaves the editor: what git ignores, and what patterns name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath, PurePosixPath

from pathspec import GitIgnoreSpec, RegexPattern

IGNORE = ".gitignore"


@dataclass(frozen=True, slots=True)
class Ignored:
    """The rules of one ``.gitignore``: ``lines`` hold below ``folder``, which is relative to the
    root of the files, ``.`` for the root itself."""

    folder: PurePosixPath
    lines: tuple[str, ...]


def why_excluded(
    path: PurePath, root: PurePath, ignored: Sequence[Ignored], patterns: Sequence[str]
) -> str | None:
    """Why nothing of ``path``, which is below ``root``, may be sent; None if all of it may.

    ``ignored`` are the files above it, from the root on. As in git (gitignore(5)) the last rule
    that matches decides, deeper files after those above them, and nothing below an ignored folder
    comes back. ``patterns`` are in the same syntax, and letters of either case are alike in them.
    They hold from the root on, and from the root of all files on: whoever opens ``~/.ssh`` as a
    folder has not left it.
    """
    relative = PurePosixPath(path.relative_to(root).as_posix())
    lowered = _compile(tuple(line.lower() for line in patterns))
    if lowered.match_file(str(relative).lower()):
        return "it matches a pattern of `exclude`"
    if lowered.match_file(path.relative_to(path.anchor).as_posix().lower()):
        return "a folder above it matches a pattern of `exclude`"
    folders = [f"{folder}/" for folder in reversed(relative.parents) if folder != PurePosixPath()]
    if any(_is_ignored(place, ignored) for place in (*folders, str(relative))):
        return f"git ignores it ({IGNORE})"
    return None


def _is_ignored(place: str, ignored: Sequence[Ignored]) -> bool:
    decided = False
    for rules in ignored:
        prefix = "" if rules.folder == PurePosixPath() else f"{rules.folder}/"
        if not place.startswith(prefix) or place == prefix:
            continue
        included = _decide(rules.lines, place[len(prefix) :])
        decided = decided if included is None else included
    return decided


def _decide(lines: tuple[str, ...], place: str) -> bool | None:
    """Whether the last of these rules that is about ``place`` itself ignores it; None where none
    is. A rule about a folder above it says nothing here: that folder is asked about first."""
    for pattern in reversed(list(_compile(lines).patterns)):
        assert isinstance(pattern, RegexPattern)
        found = pattern.match_file(place)
        if found is None:
            continue
        # The expressions name the slash that ends a folder's name.
        marks = [found.match.end(name) for name, text in found.match.groupdict().items() if text]
        if all(end == len(place) for end in marks):
            return pattern.include
    return None


@lru_cache(maxsize=256)
def _compile(lines: tuple[str, ...]) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines(lines)


def find_root(path: Path, folders: Sequence[Path]) -> Path:
    """The repository that holds ``path``; without one the innermost of the editor's ``folders``
    that does, or else its own folder."""
    for folder in path.parents:
        if (folder / ".git").exists():
            return folder
    holding = [folder for folder in folders if folder in path.parents]
    return max(holding, key=lambda folder: len(folder.parts), default=path.parent)


def read_ignored(path: Path, root: Path) -> list[Ignored]:
    """The rules that hold for ``path``, the repository's own exclusions first. Raises OSError where
    one of these files cannot be read."""
    return list(_read_ignored(path, root))


def _read_ignored(path: Path, root: Path) -> Iterator[Ignored]:
    own = root / ".git" / "info" / "exclude"
    if own.is_file():
        yield Ignored(PurePosixPath(), _lines(own))
    folders = [root / part for part in reversed(path.relative_to(root).parents)]
    for folder in folders:
        if (folder / IGNORE).is_file():
            yield Ignored(
                PurePosixPath(folder.relative_to(root).as_posix()), _lines(folder / IGNORE)
            )


def _lines(file: Path) -> tuple[str, ...]:
    return tuple(file.read_text(encoding="utf-8", errors="replace").splitlines())
