from __future__ import annotations

from pathlib import Path

import pytest

from liveweights.weights.staging import write_whole


def test_a_file_appears_whole_in_a_folder_that_is_made(tmp_path: Path) -> None:
    file = tmp_path / "new" / "kept.json"
    for content in (b"{}", b'{"a": 1}'):
        write_whole(file, content)
        assert [path.name for path in file.parent.iterdir()] == ["kept.json"]
        assert file.read_bytes() == content


def test_what_was_there_stays_where_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "kept.json"
    write_whole(file, b"old")

    def fail(path: Path, content: bytes) -> int:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="no space left"):
        write_whole(file, b"new")
    assert file.read_bytes() == b"old"
