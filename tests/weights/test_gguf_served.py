"""What llama.cpp's server is given of a GGUF."""

from __future__ import annotations

import fcntl
import shutil
import struct
from pathlib import Path

import pytest
from tests.weights.gguf_files import write_gguf

from liveweights.weights.byte_level import ends_within_character
from liveweights.weights.gguf_header import read_header, split_files
from liveweights.weights.gguf_served import TOKENS, TYPES, make_servable


def test_only_types_of_half_characters_differ_in_the_copy(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "m.gguf")
    before = file.read_bytes()
    copy = make_servable([file], tmp_path / "cache" / "served")
    assert file.read_bytes() == before
    header = read_header(copy)
    tokens, types = header.metadata[TOKENS], header.metadata[TYPES]
    changed = [id for id, old in enumerate(read_header(file).metadata[TYPES]) if old != types[id]]
    assert changed == [id for id, token in enumerate(tokens) if ends_within_character(token)]
    assert len(changed) >= 128  # each byte of which a character has several
    assert {types[id] for id in changed} == {4}
    # Written back, it is the same file.
    restored = bytearray(copy.read_bytes())
    for id in changed:
        struct.pack_into("<i", restored, header.places[TYPES] + 4 * id, 1)
    assert bytes(restored) == before


def test_it_is_made_once_and_follows_parts_that_are_moved(tmp_path: Path) -> None:
    first = write_gguf(tmp_path / "m.gguf", parts=3)
    target = tmp_path / "cache" / "served"
    copy = make_servable(split_files(first), target)
    assert [part.resolve() for part in split_files(copy)[1:]] == split_files(first)[1:]
    assert [part.is_symlink() for part in split_files(copy)] == [False, True, True]
    made = copy.stat().st_mtime_ns
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for part in split_files(first):
        part.rename(moved / part.name)
    parts = split_files(moved / first.name)
    assert make_servable(parts, target) == copy
    assert copy.stat().st_mtime_ns == made
    assert [part.resolve() for part in split_files(copy)[1:]] == parts[1:]


def test_a_file_without_half_characters_is_served_itself(tmp_path: Path) -> None:
    file = make_servable([write_gguf(tmp_path / "m.gguf")], tmp_path / "served")
    assert make_servable([file], tmp_path / "again") == file
    assert not (tmp_path / "again").exists()


def test_a_disk_without_room_for_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("not on this file system")

    file = write_gguf(tmp_path / "m.gguf")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(fcntl, "ioctl", refuse)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    with pytest.raises(OSError, match=r"needs a copy of .*m\.gguf.*0\.0 GB free; make room"):
        make_servable([file], tmp_path / "cache" / "served")
    assert not (tmp_path / "cache" / "served").exists()
