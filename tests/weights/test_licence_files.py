"""What licences ask to be handed on is found wherever bases have it."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from liveweights.weights.content import SOURCE
from liveweights.weights.licence_files import PATTERNS, copy_licence_files, find_licence_files

FILES = (
    "LICENSE", "License.txt", "licence.md", "NOTICE", "Notice.txt", "COPYING", "USE_POLICY.md",
    "LICENSES/MIT.txt", "LICENSES/third/BSD.txt",
)  # fmt: skip


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"terms of {name}")
    return folder


def test_files_and_folders_of_licences_are_copied_however_they_are_spelt(tmp_path: Path) -> None:
    base = write(tmp_path / "base", *FILES, "config.json", "README.md", "docs/LICENSE")
    target = tmp_path / "out"
    target.mkdir()
    assert sorted(copy_licence_files(base, target, "apache-2.0")) == sorted(FILES)
    copied = [one for one in target.rglob("*") if one.is_file()]
    assert sorted(one.relative_to(target).as_posix() for one in copied) == sorted(FILES)
    assert (target / "LICENSES/MIT.txt").read_text() == "terms of LICENSES/MIT.txt"


@pytest.mark.parametrize("name", FILES)
def test_a_hub_is_asked_for_all_of_them(name: str) -> None:
    assert any(fnmatchcase(name, pattern) for pattern in PATTERNS)
    assert not any(fnmatchcase("pytorch_model.bin", pattern) for pattern in PATTERNS)


def test_those_of_a_gguf_are_beside_it_where_nothing_else_is(tmp_path: Path) -> None:
    place = write(tmp_path / "files", "model.gguf", "LICENSE")
    base = tmp_path / "base"
    base.mkdir()
    (base / SOURCE).write_text(json.dumps([str(place / "model.gguf")]))
    assert find_licence_files(base) == {"LICENSE": place / "LICENSE"}
    write(place, "other.gguf")
    assert find_licence_files(base) == {}
    write(base, "NOTICE")
    assert find_licence_files(base) == {"NOTICE": base / "NOTICE"}


def test_a_licence_with_one_text_for_all_is_written_where_there_is_no_file(tmp_path: Path) -> None:
    base, target = tmp_path / "base", tmp_path / "out"
    base.mkdir()
    target.mkdir()
    assert copy_licence_files(base, target, "mit") == []
    assert copy_licence_files(base, target, "Apache-2.0") == ["LICENSE"]
    assert (target / "LICENSE").read_text() == (Path(__file__).parents[2] / "LICENSE").read_text()
