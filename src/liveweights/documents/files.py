"""The files of a folder as texts, and texts in parts that can be searched."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

LARGEST = 8 * 2**20
"""Bytes of a file that is read."""
PASSAGE = 1500
"""Characters of a part, about."""
HTML = (".html", ".htm", ".xhtml")


@dataclass(frozen=True, slots=True)
class File:
    """``path`` is within the folder, with ``/``."""

    path: str
    title: str
    digest: str
    body: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not read; bytes of its ``path`` that are no UTF-8 are escaped."""

    path: str
    reason: str


def list_files(folder: Path) -> list[Path]:
    """All files below ``folder`` in the order of their paths, but for hidden ones. Links are not
    followed: they may lead out of it. Raises OSError where it, or a folder in it, cannot be read:
    what cannot be seen is not gone."""
    if not folder.is_dir():
        raise NotADirectoryError(f"there is no folder {folder}")
    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=_fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(file for file in found if file.is_file() and not file.is_symlink())


def _fail(error: OSError) -> None:
    raise error


def read_file(folder: Path, file: Path) -> File | Skipped:
    """A file as text. Raises OSError."""
    path = file.relative_to(folder).as_posix()
    readable = os.fsencode(path).decode(errors="backslashreplace")
    if path != readable:
        return Skipped(readable, "its name is no UTF-8")
    size = file.stat().st_size
    if size > LARGEST:
        return Skipped(path, f"larger than {LARGEST // 2**20} MiB")
    data = file.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeError:
        return Skipped(path, "no UTF-8 text")
    if "\0" in text:
        return Skipped(path, "no text")
    title = ""
    if file.suffix.lower() in HTML:
        title, text = _read_html(text)
    text = text.strip()
    if not text:
        return Skipped(path, "empty")
    return File(path, title or find_title(text) or path, hashlib.sha256(data).hexdigest(), text)


def find_title(text: str) -> str:
    """The first heading of Markdown, else the first line, if it is a short one."""
    heading = re.search(r"^#{1,6}\s+(.+?)\s*#*$", text[:4000], re.MULTILINE)
    first = text.lstrip().partition("\n")[0].strip()
    told = heading.group(1) if heading else first
    return told if len(told) <= 120 else ""


def cut(text: str) -> Iterator[tuple[int, str]]:
    """Parts of about ``PASSAGE`` characters, each with where it begins; cut at a paragraph's end
    where there is one, else at a line's, else at a word's."""
    start = 0
    while start < len(text):
        end = start + PASSAGE
        if end < len(text):
            for mark in ("\n\n", "\n", " "):
                found = text.rfind(mark, start + PASSAGE // 2, end)
                if found >= 0:
                    end = found + len(mark)
                    break
        yield start, text[start:end]
        start = end


class _Reader(HTMLParser):
    """The text of a page, without what is not read."""

    UNREAD = ("script", "style", "template")
    CELLS = ("td", "th")
    BLOCKS = frozenset((
        "address", "article", "aside", "blockquote", "br", "button", "caption", "center", "dd",
        "details", "dialog", "dir", "div", "dl", "dt", "fieldset", "figcaption", "figure",
        "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hgroup", "hr", "legend",
        "li", "main", "menu", "nav", "ol", "optgroup", "option", "p", "pre", "search", "section",
        "select", "summary", "table", "tbody", "textarea", "tfoot", "thead", "tr", "ul",
    ))  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.title: list[str] = []
        self._within: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._end_before(tag)
        if tag in (*self.UNREAD, "title"):
            self._within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self._end_before(tag)
        if self._within and self._within[-1] == tag:
            self._within.pop()

    def _end_before(self, tag: str) -> None:
        """What stands before a block is another line; a row of a table stays one."""
        if tag in self.BLOCKS:
            self.parts.append("\n")
        elif tag in self.CELLS:
            self.parts.append(" ")

    def handle_data(self, data: str) -> None:
        within = self._within[-1] if self._within else ""
        if within == "title":
            self.title.append(data)
        elif not within:
            self.parts.append(data)


def _read_html(source: str) -> tuple[str, str]:
    """The title and the text of a page."""
    reader = _Reader()
    reader.feed(source)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.parts).split("\n"))
    return " ".join("".join(reader.title).split()), re.sub(r"\n{3,}", "\n\n", "\n".join(lines))
