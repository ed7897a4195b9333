"""Lines that hold a secret never leave the editor. They are found by ``detect-secrets``.

https://github.com/Yelp/detect-secrets. Nobody is asked whether a secret is in use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import PurePath

from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.filters import heuristic
from detect_secrets.plugins.base import BasePlugin

LONGEST = 4096
"""A longer line is not read, and not sent either."""
_BEGIN = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY")
_END = re.compile(r"-----END [A-Z ]*PRIVATE KEY")


def has_secret(text: str, name: str) -> bool:
    """Whether any line of ``text`` holds one; ``name`` is the file's, whose ending says whether
    values there have quotes."""
    return any(secret for _, secret in _lines(text, name))


def after_secrets(text: str, name: str) -> str:
    """What follows the last line with a secret."""
    kept = list[str]()
    for line, secret in _lines(text, name):
        if secret:
            kept.clear()
        else:
            kept.append(line)
    return "".join(kept)


def before_secrets(text: str, name: str) -> str:
    """What stands before the first line with a secret."""
    kept = list[str]()
    for line, secret in _lines(text, name):
        if secret:
            break
        kept.append(line)
    return "".join(kept)


def _lines(text: str, name: str) -> Iterator[tuple[str, bool]]:
    """Each line with its end, and whether it is or holds a secret: a private key has many."""
    suffix = PurePath(name).suffix
    in_key = False
    for line in text.splitlines(keepends=True):
        in_key = in_key or bool(_BEGIN.search(line))
        yield line, in_key or _is_secret(line.rstrip("\r\n"), suffix)
        in_key = in_key and not _END.search(line)


@lru_cache(maxsize=16_384)
def _is_secret(line: str, suffix: str) -> bool:
    if len(line) > LONGEST:
        return True
    if heuristic.is_indirect_reference(line):
        return False
    return any(
        _is_likely(secret.secret_value or "")
        for plugin in _plugins()
        for secret in plugin.analyze_line(filename=f"file{suffix}", line=line)
    )


def _is_likely(secret: str) -> bool:
    return not (
        heuristic.is_sequential_string(secret)
        or heuristic.is_potential_uuid(secret)
        or heuristic.is_templated_secret(secret)
        or heuristic.is_not_alphanumeric_string(secret)
    )


@lru_cache(maxsize=1)
def _plugins() -> tuple[BasePlugin, ...]:
    return tuple(kind() for kind in get_mapping_from_secret_type_to_class().values())
