"""Files of which nothing leaves the editor: what git ignores, and what patterns name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath, PurePosixPath

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

IGNORE = ".gitignore"
_CLASSES = {
    "[:alnum:]": "0-9A-Za-z",
    "[:alpha:]": "A-Za-z",
    "[:digit:]": "0-9",
    "[:lower:]": "a-z",
    "[:upper:]": "A-Z",
    "[:xdigit:]": "0-9A-Fa-f",
}
"""Classes of characters that git knows within brackets and pathspec does not."""


def _keep_blanks(line: str) -> str:
    """Of what a line ends with git drops spaces alone, and pathspec all that is blank: what git
    keeps, in brackets."""
    bare = line.rstrip(" ")
    if bare != line and _is_escaped(bare):
        return f"{bare} "
    kept = ""
    while bare and bare[-1].isspace() and bare[-1] != " ":
        kept, bare = f"[{bare[-1]}]{kept}", bare[:-1]
        if _is_escaped(bare):
            bare = bare[:-1]
    return bare + kept if kept else line


def _is_escaped(before: str) -> bool:
    """Whether what comes after it is, by a backslash that is not escaped itself."""
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


class BadPattern(ValueError):
    """A pattern that no file can match; the message is the pattern."""


class _Pattern(GitIgnoreSpecPattern):
    """One line of a ``.gitignore``. Raises ValueError or re.error for what is no pattern."""

    __slots__ = ()

    def __init__(self, line: str) -> None:
        for name, letters in _CLASSES.items():
            line = line.replace(name, letters)
        super().__init__(_keep_blanks(line))


class _CaselessPattern(_Pattern):
    """The same, where letters of either case are alike."""

    __slots__ = ()

    def __init__(self, line: str) -> None:
        super().__init__(line)
        if self.regex is not None:
            self.regex = re.compile(self.regex.pattern, re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Ignored:
    """The rules of one ``.gitignore``: ``lines`` hold below ``folder``, which is relative to the
    root of the files, ``.`` for the root itself."""

    folder: PurePosixPath
    lines: tuple[str, ...]


def check_patterns(patterns: Sequence[str]) -> None:
    """Raises BadPattern for the first that no file can match, unless it is a comment."""
    for line in patterns:
        try:
            pattern = _CaselessPattern(line)
        except (ValueError, re.error) as error:
            raise BadPattern(line) from error
        if pattern.regex is None and line.strip() and not line.startswith("#"):
            raise BadPattern(line)


def is_named(path: PurePath, root: PurePath | None, patterns: Sequence[str]) -> bool:
    """Whether ``patterns`` name ``path``. They are as in gitignore(5), and letters of either case
    are alike in them. Raises ValueError or re.error where ``check_patterns`` raises.

    They hold from ``root`` on, the repository or folder of the editor that holds the file; where
    there is none, from the root of all files on. Those that end in a slash, which name folders,
    always hold from there on, too: whoever opens ``~/.ssh`` as a folder has not left it.
    """
    whole = path.relative_to(path.anchor).as_posix()
    if root is None:
        return _caseless(tuple(patterns)).match_file(whole)
    folders = tuple(line for line in patterns if line.rstrip().endswith("/"))
    return _caseless(tuple(patterns)).match_file(path.relative_to(root).as_posix()) or _caseless(
        folders
    ).match_file(whole)


def is_ignored(path: PurePath, root: PurePath, ignored: Sequence[Ignored]) -> bool:
    """Whether git ignores ``path``, which is below ``root``, by the rules above it, from the root
    on. As in git (gitignore(5)) the last rule that matches decides, deeper files after those above
    them, and nothing below an ignored folder comes back."""
    relative = PurePosixPath(path.relative_to(root).as_posix())
    folders = [f"{folder}/" for folder in reversed(relative.parents) if folder != PurePosixPath()]
    return any(_is_place_ignored(place, ignored) for place in (*folders, str(relative)))


def _is_place_ignored(place: str, ignored: Sequence[Ignored]) -> bool:
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
    for pattern in reversed(_patterns(lines)):
        found = pattern.match_file(place)
        if found is None:
            continue
        # The expressions name the slash that ends a folder's name.
        marks = [found.match.end(name) for name, text in found.match.groupdict().items() if text]
        if all(end == len(place) for end in marks):
            return pattern.include
    return None


@lru_cache(maxsize=256)
def _patterns(lines: tuple[str, ...]) -> tuple[_Pattern, ...]:
    return tuple(pattern for line in lines if (pattern := _read_pattern(line)) is not None)


def _read_pattern(line: str) -> _Pattern | None:
    """None for what is no pattern, which matches nothing in git either."""
    try:
        return _Pattern(line)
    except (ValueError, re.error):
        return None


@lru_cache(maxsize=16)
def _caseless(patterns: tuple[str, ...]) -> GitIgnoreSpec:
    return GitIgnoreSpec.from_lines(patterns, _CaselessPattern, backend="simple")


def find_root(path: Path, folders: Sequence[Path]) -> Path | None:
    """The repository that holds ``path``; without one the innermost of the editor's ``folders``
    that does, if any."""
    for folder in path.parents:
        if (folder / ".git").exists():
            return folder
    holding = [folder for folder in folders if folder in path.parents]
    return max(holding, key=lambda folder: len(folder.parts), default=None)


def read_ignored(path: Path, root: Path) -> list[Ignored]:
    """The rules that hold for ``path``, the repository's own exclusions first. Raises OSError where
    one of these files cannot be read."""
    return list(_read_ignored(path, root))


def _read_ignored(path: Path, root: Path) -> Iterator[Ignored]:
    own = _git_folder(root) / "info" / "exclude"
    if own.is_file():
        yield Ignored(PurePosixPath(), _lines(own))
    folders = [root / part for part in reversed(path.relative_to(root).parents)]
    for folder in folders:
        if (folder / IGNORE).is_file():
            yield Ignored(
                PurePosixPath(folder.relative_to(root).as_posix()), _lines(folder / IGNORE)
            )


def _git_folder(root: Path) -> Path:
    """What a repository shares with all its worktrees (gitrepository-layout(5)). In a worktree and
    in a submodule ``.git`` is a file that says where that is."""
    git = root / ".git"
    if git.is_file():
        git = root / os.fsdecode(git.read_bytes()).removeprefix("gitdir: ").rstrip("\r\n")
    common = git / "commondir"
    if common.is_file():
        git /= os.fsdecode(common.read_bytes()).rstrip("\r\n")
    return git


def _lines(file: Path) -> tuple[str, ...]:
    """As git reads them: a line ends with a newline, and a mark of the byte order is none of the
    first one."""
    text = file.read_bytes().decode("utf-8-sig", errors="replace")
    return tuple(line.removesuffix("\r") for line in text.split("\n"))
