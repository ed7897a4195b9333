"""GGUF headers: as the gguf package writes and reads them, and lying ones."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.weights.gguf_header import read_header, split_files
from liveweights.weights.tensors import BrokenFile

KEYS = st.text("abc.", min_size=1, max_size=12).map("own.".__add__)
VALUES = (
    st.booleans()
    | st.text(min_size=1, max_size=20)
    | st.integers(-(1 << 31), (1 << 31) - 1)
    | st.lists(st.integers(0, 1 << 20), min_size=1, max_size=5)
    | st.lists(st.text(max_size=5), min_size=1, max_size=5)
)
SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


def write(file: Path, values: dict[str, object], shapes: dict[str, tuple[int, ...]]) -> Path:
    writer = gguf.GGUFWriter(file, "llama")
    for key, value in values.items():
        match value:
            case bool():
                writer.add_bool(key, value)
            case str():
                writer.add_string(key, value)
            case int():
                writer.add_int32(key, value)
            case _:
                writer.add_array(key, value)  # type: ignore[arg-type]
    for name, shape in shapes.items():
        writer.add_tensor(name, np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@given(
    st.dictionaries(KEYS, VALUES, max_size=6),
    st.dictionaries(st.text("abc", min_size=1, max_size=5), SHAPES, min_size=1, max_size=4),
)
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    values: dict[str, object],
    shapes: dict[str, tuple[int, ...]],
) -> None:
    file = write(tmp_path_factory.mktemp("gguf") / "a.gguf", values, shapes)
    header = read_header(file)
    assert dict(header.metadata) == {"general.architecture": "llama", **values}
    assert dict(header.shapes) == {name: shape[::-1] for name, shape in shapes.items()}


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    values = {"own.text": "abc", "own.list": ["a", "bc"], "own.numbers": [1, 2, 3]}
    return write(tmp_path / "whole.gguf", values, {"w": (4, 4)}).read_bytes()


ENTRY = struct.pack("<Q", 1) + b"k" + struct.pack("<II", 4, 1)


def refused(folder: Path, data: bytes) -> str:
    file = folder / "bad.gguf"
    file.write_bytes(data)
    with pytest.raises(BrokenFile) as caught:
        read_header(file)
    assert str(file) in str(caught.value)
    return str(caught.value)


def test_a_header_that_is_cut_off_anywhere_is_refused(tmp_path: Path, whole: bytes) -> None:
    end = whole.index(b"w\x02\x00\x00\x00") + 1 + 4 + 2 * 8 + 12
    for length in range(end):
        refused(tmp_path, whole[:length])


@given(st.data())
def test_no_changed_byte_ends_otherwise(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("changed")
    values = {"own.text": "abc", "own.list": ["a", "bc"], "own.numbers": [1, 2, 3]}
    changed = bytearray(write(folder / "a.gguf", values, {"w": (4, 4)}).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, min(len(changed), 300) - 1))] = data.draw(
            st.integers(0, 255)
        )
    (folder / "b.gguf").write_bytes(changed)
    with contextlib.suppress(BrokenFile):  # anything else would be a fault
        read_header(folder / "b.gguf")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"PK\x03\x04" + bytes(40), "does not begin with GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "version 9"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "1,152,921,504,606,846,976 entries"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60), "no room"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 62) + bytes(40), "ends within"),
        (
            b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 8, 1 << 61),
            "no room",
        ),
        (
            b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 9, 1),
            "the type 9",
        ),
        (
            b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"\xff" + struct.pack("<II", 4, 1),
            "not UTF-8",
        ),
        (
            b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + 2 * ENTRY,
            "'k' twice",
        ),
        (
            b"GGUF" + struct.pack("<IQQQ", 3, 1, 0, 1) + b"w" + struct.pack("<I", 1 << 30),
            "1073741824 dimensions",
        ),
    ],
)  # fmt: skip
def test_a_lying_header_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    assert why in refused(tmp_path, data)


def test_the_parts_of_a_model_are_found(tmp_path: Path) -> None:
    parts = [tmp_path / f"m-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    for part in parts:
        part.touch()
    assert split_files(parts[0]) == parts
    assert split_files(tmp_path / "alone.gguf") == [tmp_path / "alone.gguf"]
    with pytest.raises(BrokenFile, match=r"name the first, m-00001-of-00003\.gguf"):
        split_files(parts[1])
    parts[2].unlink()
    with pytest.raises(BrokenFile, match=r"m-00003-of-00003\.gguf is missing"):
        split_files(parts[0])
