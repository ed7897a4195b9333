"""What may be sent of the open files: asked before anything leaves the editor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from liveweights.editor.exclusions import IGNORE, find_root, is_ignored, is_named, read_ignored
from liveweights.editor.settings import EditorSettings


def path_of(uri: str) -> Path | None:
    """The file that a document is, absolute; None where it is none, such as one without a name."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    path = Path(url2pathname(parts.path))
    return path if parts.scheme == "file" and path.is_absolute() else None


def name_of(uri: str, folders: Sequence[Path]) -> str:
    """The path of a file within its repository; empty where it is no file."""
    path = path_of(uri)
    if path is None:
        return ""
    return path.relative_to(find_root(path, folders) or path.parent).as_posix()


def why_not(uri: str, language: str, settings: EditorSettings, folders: Sequence[Path]) -> str:
    """Why nothing of a document may be sent; empty if it may."""
    if not settings.consent:
        return "consent is not given (`consent`)"
    if settings.languages and language not in settings.languages:
        return f"{language} is not one of `languages`"
    path = path_of(uri)
    try:
        if path is None or not path.is_file():
            return "it is no file, so that nobody can say whether it is excluded"
        # A link is judged by its own name, and by what it leads to.
        whys = [_why_excluded(path, settings, folders)]
        if (real := path.resolve()) != path:
            there = [*folders, *(folder.resolve() for folder in folders)]
            whys.append(_why_excluded(real, settings, there))
    except OSError as error:
        return f"whether it is excluded cannot be read: {error}"
    return next(filter(None, whys), "")


def _why_excluded(path: Path, settings: EditorSettings, folders: Sequence[Path]) -> str:
    """Raises OSError where it cannot be read what git ignores."""
    root = find_root(path, folders)
    if is_named(path, root, settings.exclude):
        return "it, or a folder above it, matches a pattern of `exclude`"
    top = root or path.parent
    if is_ignored(path, top, read_ignored(path, top)):
        return f"git ignores it ({IGNORE})"
    return ""
