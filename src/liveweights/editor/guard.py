"""What may be sent of the open files: asked before anything leaves the editor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from liveweights.editor.exclusions import find_root, read_ignored, why_excluded
from liveweights.editor.settings import EditorSettings


def path_of(uri: str) -> Path | None:
    """The file that a document is; None where it is none, such as one that was never saved."""
    parts = urlsplit(uri)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None


def name_of(uri: str, folders: Sequence[Path]) -> str:
    """The path of a file within its repository; empty where it is no file."""
    path = path_of(uri)
    return "" if path is None else path.relative_to(find_root(path, folders)).as_posix()


def why_not(uri: str, language: str, settings: EditorSettings, folders: Sequence[Path]) -> str:
    """Why nothing of a document may be sent; empty if it may."""
    if not settings.consent:
        return "consent is not given (`consent`)"
    if not settings.enabled:
        return "suggestions are switched off (`enabled`)"
    if settings.languages and language not in settings.languages:
        return f"{language} is not one of `languages`"
    path = path_of(uri)
    if path is None:
        return "it is no file, so that nobody can say whether it is excluded"
    root = find_root(path, folders)
    try:
        ignored = read_ignored(path, root)
    except OSError as error:
        return f"what git ignores cannot be read: {error}"
    return why_excluded(path, root, ignored, settings.exclude) or ""
