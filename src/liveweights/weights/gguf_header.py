"""The header of a GGUF file: what it says of the model, and what its tensors are.

Read here and not by the gguf package, because files come from anywhere: each number is compared
with what is left of the file before anything is made of it, and each tensor has to lie in it. The
format is that of
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, little-endian, versions 2 and 3.
"""

from __future__ import annotations

import math
import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from liveweights.weights.tensors import BrokenFile

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_DIMENSIONS = 4
LARGEST = 128 << 20
"""Bytes of a header: ten times those of the largest vocabularies."""
ALIGNMENT = 32
"""Of the tensors in bytes, where ``general.alignment`` does not say another."""
_STRING, _ARRAY = 8, 9
_NUMBERS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?",
    10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
"""``struct``'s formats by the numbers of value types."""
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")
_LEAST = 12
"""Bytes of the shortest entry: the length of its name, and its type."""


@dataclass(frozen=True, slots=True)
class Header:
    """``metadata`` by key: numbers, texts, and lists of them; ``shapes`` of the tensors by name, as
    in the file, the innermost dimension first; ``types`` are ggml's numbers of how their values are
    stored, ``begins`` the bytes from which they are. ``places`` are the bytes from which the items
    of the lists of numbers are, by key."""

    metadata: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    types: Mapping[str, int]
    begins: Mapping[str, int]
    places: Mapping[str, int]


def read_header(file: Path) -> Header:
    """Raises BrokenFile that says what is wrong, OSError."""
    with file.open("rb") as stream:
        try:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:  # of no bytes
            raise BrokenFile(f"{file} is no GGUF file: it is empty") from error
        with mapped:
            return _Reader(file, mapped).read()


def is_first(file: Path) -> bool:
    """Whether a file is the first of those that a model is split over, or is all of it."""
    match = _PART.search(file.name)
    return match is None or int(match[1]) == 1


def whole_name(file: Path) -> str:
    """A model's name by its file's: without what says which part it is."""
    return _PART.sub("", file.name).removesuffix(".gguf")


def split_files(first: Path) -> list[Path]:
    """The files that a model is split over, of which the first is named; the file alone, where its
    name is not that of a part. Raises BrokenFile where one is missing."""
    match = _PART.search(first.name)
    if match is None:
        return [first]
    stem, count = first.name[: match.start()], int(match[2])
    if int(match[1]) != 1:
        raise BrokenFile(
            f"{first} is a part of a model: name the first, {stem}-00001-of-{match[2]}.gguf"
        )
    parts = [first.with_name(f"{stem}-{n:05}-of-{match[2]}.gguf") for n in range(1, count + 1)]
    if missing := [part.name for part in parts if not part.is_file()]:
        raise BrokenFile(f"{first} is a part of a model of which {missing[0]} is missing")
    return parts


@cache
def block_sizes() -> Mapping[int, tuple[int, int]]:
    """Values and bytes of a block, by ggml's number of a type."""
    from gguf import GGML_QUANT_SIZES

    return {int(kind): size for kind, size in GGML_QUANT_SIZES.items()}


class _Reader:
    """Goes through a mapped file from its beginning."""

    def __init__(self, file: Path, data: mmap.mmap) -> None:
        self._file = file
        self._data = data
        self._end = min(len(data), LARGEST)
        self._at = 0
        self._list_at = 0
        """Where the items of a list of numbers began that was just read."""

    def read(self) -> Header:
        if self._data[:4] != MAGIC:
            raise self._broken("it does not begin with GGUF")
        self._at = 4
        version = self._number("<I")
        if version not in VERSIONS:
            raise self._broken(
                f"it is of version {version}; {VERSIONS[0]} and {VERSIONS[1]} are read"
            )
        tensors = self._count(_LEAST)
        entries = self._count(_LEAST)
        metadata: dict[str, Any] = {}
        places: dict[str, int] = {}
        for _ in range(entries):
            key = self._text()
            if key in metadata:
                raise self._broken(f"it has {key!r} twice")
            metadata[key] = self._value(self._number("<I"))
            if self._list_at:
                places[key], self._list_at = self._list_at, 0
        shapes: dict[str, tuple[int, ...]] = {}
        types: dict[str, int] = {}
        offsets: dict[str, int] = {}
        for _ in range(tensors):
            name = self._text()
            if name in shapes:
                raise self._broken(f"it has the tensor {name!r} twice")
            shapes[name] = self._shape(name)
            types[name], offsets[name] = self._number("<I"), self._number("<Q")
        begin = self._begin(metadata.get("general.alignment", ALIGNMENT))
        begins = {name: begin + offset for name, offset in offsets.items()}
        for name, at in begins.items():
            beyond = at + self._size(name, shapes[name], types[name]) - len(self._data)
            if beyond > 0:
                raise self._broken(f"its tensor {name!r} would end {beyond:,} bytes after it")
        return Header(metadata, shapes, types, begins, places)

    def _begin(self, alignment: Any) -> int:
        """The byte from which tensors are counted."""
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise self._broken(f"its general.alignment is {alignment!r}, which is no power of two")
        return -(-self._at // alignment) * alignment

    def _size(self, name: str, shape: tuple[int, ...], kind: int) -> int:
        """Bytes of a tensor; 0 where its type is not known here."""
        if kind not in block_sizes():
            return 0
        block, size = block_sizes()[kind]
        if shape and shape[0] % block:
            raise self._broken(
                f"its tensor {name!r} has rows of {shape[0]} values, stored in blocks of {block}"
            )
        return math.prod(shape) // block * size

    def _shape(self, name: str) -> tuple[int, ...]:
        count = self._number("<I")
        if count > MOST_DIMENSIONS:
            raise self._broken(f"its tensor {name!r} has {count} dimensions")
        return tuple(self._number("<Q") for _ in range(count))

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind != _ARRAY:
            return self._number(self._format(kind))
        inner = self._number("<I")
        if inner == _STRING:
            return [self._text() for _ in range(self._count(8))]
        form = self._format(inner)
        count = self._count(struct.calcsize(form))
        self._list_at = self._at
        return list(struct.unpack(f"<{count}{form[1]}", self._take(count * struct.calcsize(form))))

    def _format(self, kind: int) -> str:
        if kind not in _NUMBERS:
            raise self._broken(f"it has a value of the type {kind}, which there is not")
        return _NUMBERS[kind]

    def _count(self, size: int) -> int:
        """How many follow of which each takes ``size`` bytes or more."""
        count = self._number("<Q")
        if count > (self._end - self._at) // size:
            raise self._broken(f"it says that {count:,} entries follow, which it has no room for")
        return count

    def _text(self) -> str:
        try:
            return str(self._take(self._number("<Q")), "utf-8")
        except UnicodeDecodeError as error:
            raise self._broken(f"it has a text that is not UTF-8 ({error.reason})") from error

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _take(self, size: int) -> bytes:
        end = self._at + size
        if end > self._end:
            cut = self._end == len(self._data)
            why = "it ends within its header" if cut else f"its header is beyond {LARGEST:,} bytes"
            raise self._broken(why)
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def _broken(self, why: str) -> BrokenFile:
        return BrokenFile(f"{self._file} is no whole GGUF file: {why}")
