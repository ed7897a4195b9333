"""The id of a checkpoint is of everything that changes its answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.learn.families import make_family

from liveweights.weights.content import (
    NotPlainFile,
    changes,
    content_id,
    covers,
    hash_files,
    name_of,
)

NAMES = st.sampled_from(["a.safetensors", "config.json", "tokenizer.json", "vocab.txt", "b.model"])
LISTS = st.dictionaries(NAMES, st.sampled_from(["0" * 64, "1" * 64, "2" * 64]))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_family("qwen3", tmp_path_factory.mktemp("model") / "tiny")
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return folder


def test_the_name_is_made_of_the_last_part() -> None:
    assert name_of("HuggingFaceTB/SmolLM2-135M") == "smollm2-135m"
    assert name_of("/models/My Model/") == "my-model"


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("config.json", '"rope_theta": 10000.0', '"rope_theta": 500.0'),
        ("tokenizer.json", '"ids": []', '"ids": [ ]'),
        ("tokenizer_config.json", "{", "{ "),
        ("chat_template.jinja", "messages[0]", "messages[-1]"),
        ("generation_config.json", "{", "{ "),
    ],
)
def test_copies_that_differ_in_anything_that_changes_an_answer_have_another_id(
    model: Path, tmp_path: Path, file: str, old: str, new: str
) -> None:
    copy = tmp_path / "tiny"
    shutil.copytree(model, copy)
    before = hash_files(model)
    assert content_id(hash_files(copy)) == content_id(before)
    text = (copy / file).read_text()
    changed = text.replace(old, new) if old in text else text + " "
    assert changed != text
    (copy / file).write_text(changed)
    assert content_id(hash_files(copy)) != content_id(before)
    assert changes(before, hash_files(copy)) == [(file, "changed")]


@pytest.mark.parametrize(
    "file",
    [
        "special_tokens_map.json",
        "added_tokens.json",
        "additional_chat_templates/tools.jinja",
        "selection.json",
        "more.safetensors",
        "tokenizer.model",
    ],
)
def test_what_is_added_changes_the_id(model: Path, tmp_path: Path, file: str) -> None:
    copy = tmp_path / "tiny"
    shutil.copytree(model, copy)
    (copy / file).parent.mkdir(exist_ok=True)
    (copy / file).write_text("{}")
    assert changes(hash_files(model), hash_files(copy)) == [(file, "added")]


def test_what_only_says_something_of_it_does_not(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "tiny"
    shutil.copytree(model, copy)
    for name in ("README.md", "card.json", "origin.json", "probes.json", "model.sig", "notes.txt"):
        (copy / name).write_text("other")
    assert hash_files(copy) == hash_files(model)


def test_every_file_name_of_a_tokenizer_in_transformers_is_covered() -> None:
    import transformers

    folder = Path(transformers.__file__).parent
    found: set[str] = set()
    for file in folder.glob("models/*/tokenization_*.py"):
        for table in re.findall(r"VOCAB_FILES_NAMES\b[^=]*= \{(.*?)\}", file.read_text(), re.S):
            found |= set(re.findall(r':\s*"([^"]+)"', table))
    assert len(found) > 15
    assert {name for name in found if not covers(name)} == set()


def test_hashes_are_kept_while_files_are_what_they_were(model: Path, tmp_path: Path) -> None:
    copy, known = tmp_path / "tiny", tmp_path / "hashes"
    shutil.copytree(model, copy)
    first = hash_files(copy, known)
    (kept,) = known.iterdir()
    forged = json.loads(kept.read_text())
    forged["config.json"][1] = "f" * 64
    kept.write_text(json.dumps(forged))
    assert hash_files(copy, known)["config.json"] == "f" * 64  # not read again
    kept.write_text("not ours")
    assert hash_files(copy, known) == first


def test_a_file_that_was_replaced_with_size_and_time_kept_is_seen(
    model: Path, tmp_path: Path
) -> None:
    copy, known = tmp_path / "tiny", tmp_path / "hashes"
    shutil.copytree(model, copy)
    weights = copy / "model.safetensors"
    before, status = hash_files(copy, known), weights.stat()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert weights.stat().st_size == status.st_size
    assert changes(before, hash_files(copy, known)) == [("model.safetensors", "changed")]


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "dangling", "folder"])
def test_what_is_no_file_is_named_and_not_opened(model: Path, tmp_path: Path, kind: str) -> None:
    copy = tmp_path / "tiny"
    shutil.copytree(model, copy)
    (copy / "model.safetensors").unlink()
    weights = copy / "model.safetensors"
    if kind == "pipe":
        os.mkfifo(weights)
    elif kind == "device":
        weights.symlink_to("/dev/zero")
    elif kind == "socket":
        here = os.open(".", os.O_RDONLY)
        try:
            os.chdir(copy)  # the path of a socket is short
            socket.socket(socket.AF_UNIX).bind(weights.name)
        finally:
            os.fchdir(here)
            os.close(here)
    elif kind == "dangling":
        weights.symlink_to(tmp_path / "gone")
    else:
        weights.mkdir()
    with pytest.raises(NotPlainFile, match=r"model\.safetensors"):
        hash_files(copy)


@given(LISTS, LISTS)
def test_ids_are_equal_exactly_where_nothing_differs(
    one: dict[str, str], two: dict[str, str]
) -> None:
    assert (content_id(one) == content_id(two)) == (not changes(one, two))
    assert content_id(one) != content_id(one, "base@000000000000")
