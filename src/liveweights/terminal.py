"""What others named is data on the operator's terminal: it moves no cursor and hides nothing."""

from __future__ import annotations

import logging
import re
import unicodedata

JOINERS = "\u200c\u200d"
"""Within words of some scripts and within emoji; they move and hide nothing."""
_DELETE = "\x7f"
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of control, format (such as those that turn the direction), half surrogates,
and separators of lines and paragraphs."""


class _Escapes(dict[int, str]):
    """Characters to what is shown for them, filled as they come."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        hidden = unicodedata.category(char) in HIDDEN and char not in JOINERS
        self[code] = char.encode("unicode_escape").decode() if hidden else char
        return self[code]


_ESCAPES = _Escapes()
_UNUSUAL = re.compile(r"[^ -~]")


def clean(text: str, keep: str = "") -> str:
    r"""The text with what a terminal would act on shown in its place: ESC as ``\x1b``.

    ``keep`` are characters that stay, such as line ends in a text of several lines.
    """
    if text.isascii() and text.isprintable():
        return text
    return _UNUSUAL.sub(
        lambda found: found[0] if found[0] in keep else _ESCAPES[ord(found[0])], text
    )


def escape_json(text: str) -> str:
    r"""JSON whose strings have what a terminal would act on as ``\u009b``: it is the same JSON."""
    if text.isascii() and _DELETE not in text:  # all else of ASCII JSON escapes itself
        return text
    return _UNUSUAL.sub(
        lambda found: found[0] if _ESCAPES[ord(found[0])] == found[0] else _unit(found[0]), text
    )


def _unit(char: str) -> str:
    if char == "\n":  # between the parts of a document; in a string JSON escapes it itself
        return char
    data = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{data[place : place + 2].hex()}" for place in range(0, len(data), 2))


class Formatter(logging.Formatter):
    """Log lines that are lines, whatever is told in them."""

    def format(self, record: logging.LogRecord) -> str:
        return clean(super().format(record), keep="\n\t")


def start_logging(pattern: str = "%(asctime)s %(name)s %(message)s") -> None:
    """Everything from INFO on to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter(pattern))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
