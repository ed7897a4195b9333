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
from detect_secrets.plugins.high_entropy_strings import HighEntropyStringsPlugin
from detect_secrets.plugins.keyword import KeywordDetector
from detect_secrets.util.filetype import FileType, determine_file_type

from liveweights.editor.text import end_of_line

LONGEST = 4096
"""A longer line is not read, and not sent either."""
QUOTES = "\"'`"
_BEGIN = re.compile(r"-{4,5} ?BEGIN [A-Z0-9 ]*PRIVATE KEY")
_END = re.compile(r"-{4,5} ?END [A-Z0-9 ]*PRIVATE KEY")


def has_secret(text: str, name: str, start: int = 0, end: int | None = None) -> bool:
    """Whether any line of ``text`` of which a part lies between ``start`` and ``end`` holds one.

    Lines are judged whole, and as part of the private key that they stand in, if they do. ``name``
    is the file's, whose ending says whether values there have quotes.
    """
    return any(secret for _, _, secret in _lines(text, name, start, end))


def find_start(text: str, name: str, start: int, offset: int) -> int:
    """Where what may be sent of ``text[start:offset]`` begins: behind its last line with a
    secret."""
    for line, end, secret in _lines(text, name, start, offset):
        # What is still being written may be one before the end of its line is.
        if secret or (end > offset and _is_secret_line(text[line:offset], name)):
            start = min(end, offset)
    return start


def find_end(text: str, name: str, offset: int, end: int) -> int:
    """Where what may be sent of ``text[offset:end]`` ends: before its first line with a secret."""
    for line, _, secret in _lines(text, name, offset, end):
        if secret:
            return max(line, offset)
    return end


def _lines(
    text: str, name: str, start: int, end: int | None = None
) -> Iterator[tuple[int, int, bool]]:
    """Where each line with a part of ``text[start:end]`` begins and ends, its end included, and
    whether it is or holds a secret: a private key has many."""
    end = len(text) if end is None else end
    keys = list(_keys(text))
    line = text.rfind("\n", 0, start) + 1
    while start < end and line < end:
        stop = end_of_line(text, line)
        in_key = any(first <= line < last for first, last in keys)
        yield line, stop + 1, in_key or _is_secret_line(text[line:stop], name)
        line = stop + 1


def _keys(text: str) -> Iterator[tuple[int, int]]:
    """Where the lines of each private key begin and end. One whose end is missing goes on."""
    place = 0
    while begin := _BEGIN.search(text, place):
        end = _END.search(text, begin.end())
        place = len(text) if end is None else end_of_line(text, end.end())
        yield text.rfind("\n", 0, begin.start()) + 1, place


def _is_secret_line(line: str, name: str) -> bool:
    """Of a quote that is not closed yet it is asked what it will be."""
    suffix = PurePath(name).suffix.lower()
    closed = [line + quote for quote in QUOTES if line.count(quote) % 2]
    return any(_is_secret(one, suffix) for one in (line, *closed))


@lru_cache(maxsize=16_384)
def _is_secret(line: str, suffix: str) -> bool:
    if len(line) > LONGEST:
        return True
    return any(
        _is_likely(secret.secret_value or "", plugin, line, suffix)
        for plugin in _plugins()
        for secret in plugin.analyze_line(filename=f"file{suffix}", line=line)
    )


def _is_likely(secret: str, plugin: BasePlugin, line: str, suffix: str) -> bool:
    """Whether what a plugin found is one by the heuristics that are about such a plugin."""
    if isinstance(plugin, HighEntropyStringsPlugin) and heuristic.is_potential_uuid(secret):
        return False
    if isinstance(plugin, KeywordDetector) and _is_code(secret, line, suffix):
        return False
    return not (
        heuristic.is_sequential_string(secret)
        or heuristic.is_templated_secret(secret)
        or heuristic.is_not_alphanumeric_string(secret)
    )


def _is_code(value: str, line: str, suffix: str) -> bool:
    """Whether a value is a call or a look-up. Values without quotes are read in Go, where they are
    code, and in configuration, where they are what they say."""
    if any(f"{quote}{value}{quote}" in line for quote in QUOTES):
        return False
    is_go = determine_file_type(f"file{suffix}") is FileType.GO
    return is_go and heuristic.is_indirect_reference(line)


@lru_cache(maxsize=1)
def _plugins() -> tuple[BasePlugin, ...]:
    return tuple(kind() for kind in get_mapping_from_secret_type_to_class().values())
