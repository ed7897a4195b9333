"""Which paths every server reads alike: only those are passed on."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from liveweights.http.errors import ApiError

_DECODED = 8
"""Servers behind servers decode more than once; who needs more than this has no good reason."""
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_STRANGE = re.compile(r"[^!-~]|[\\?#]")


def check_path(path: str) -> None:
    """``path`` as it was sent, escapes and all. Raises ApiError 400 where it, or what any number
    of decodings makes of it, leaves the place that it names: by a segment that is ``.``, ``..`` or
    empty, by a backslash, or by characters that servers do not read alike."""
    text = path
    for _ in range(_DECODED):
        why = _trouble(text)
        if why:
            raise _refused(path, why)
        decoded = unquote_to_bytes(text).decode("latin-1")
        if decoded == text:
            return
        text = decoded
    raise _refused(path, "it is escaped too many times")


def _trouble(path: str) -> str:
    """Why ``path`` is not clear; empty where it is."""
    if _STRANGE.search(path):
        return "it has a backslash, '?', '#', or a character that is not printable ASCII"
    if _ESCAPE.search(path):
        return "it has a '%' without two hexadecimal digits after it"
    for segment in path.removeprefix("/").split("/"):
        # Some servers leave out what follows a semicolon, or trailing dots.
        if not segment.partition(";")[0].strip("."):
            return "it has a segment that is empty, '.' or '..'"
    return ""


def _refused(path: str, why: str) -> ApiError:
    message = f"The path {path[:200]!r} is not passed on: {why}."
    return ApiError(400, message, code="invalid_path")
