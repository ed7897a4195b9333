"""Finding base models."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from tests.learn.families import make_family

from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.gguf import to_gguf
from liveweights.weights.models import (
    DEFAULT_MODEL,
    BrokenModel,
    ModelNotFound,
    end_of_text_ids,
    find,
    load_tokenizer,
)
from liveweights.weights.packaged import packaged_gguf

CODE = (
    "def f(x):\n    # counts 4567, x9y and 3.14\n\treturn [i ** 2 for i in range(10)]  \n\n\n"
    "class Straße:\n    π = 'naïve — 你好 😀 ١٢٣ Ⅷ'\n        \n"
)


@pytest.mark.model
def test_the_packaged_model_is_found(base: Checkpoint, model_cache: Path) -> None:
    assert base.kind == "base"
    assert base.name == DEFAULT_MODEL
    assert find(DEFAULT_MODEL, model_cache) == base


@pytest.mark.model
def test_the_tokenizer_is_the_one_that_the_model_was_trained_with(base: Checkpoint) -> None:
    tokenizer: Any = load_tokenizer(base)
    assert tokenizer.convert_ids_to_tokens([0, 1, 2]) == [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
    ]
    assert tokenizer.eos_token_id == 2
    assert end_of_text_ids(base, tokenizer) == {0, 2}
    # Every digit is a token of its own, and nothing is put before or after the text.
    assert [tokenizer.decode([i]) for i in tokenizer.encode("a 4567")] == [*"a", " ", *"4567"]


@pytest.mark.model
def test_llama_cpp_makes_the_same_tokens(base: Checkpoint, tmp_path: Path) -> None:
    source = packaged_gguf()
    assert source is not None
    tokenizer: Any = load_tokenizer(base)
    for text in (CODE, Path(__file__).read_text(encoding="utf-8"), Path(json.__file__).read_text()):
        assert tokenizer.encode(text) == tokenize_by_llama_cpp(source, text)


def tokenize_by_llama_cpp(gguf: Path, text: str) -> list[int]:
    import subprocess
    import sys

    script = """
import json, sys, urllib.request, xllamacpp
params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_ctx, params.port, params.warmup, params.verbosity = 64, 0, False, 0
server = xllamacpp.Server(params)
body = json.dumps({"content": sys.stdin.read()}).encode()
request = urllib.request.Request(
    server.listening_address + "/tokenize", body, {"Content-Type": "application/json"}
)
print("TOKENS", urllib.request.urlopen(request).read().decode())
"""
    said = subprocess.run(
        [sys.executable, "-c", script, str(gguf)],
        input=text, capture_output=True, text=True, check=True, encoding="utf-8",
    ).stdout  # fmt: skip
    return json.loads(said.partition("TOKENS ")[2])["tokens"]


@pytest.mark.model
def test_a_folder_works_the_same(base: Checkpoint, tmp_path: Path) -> None:
    folder = tmp_path / "My Model"
    shutil.copytree(base.folder, folder)
    found = find(str(folder), tmp_path / "cache")
    assert found.folder == folder
    assert found.id == "my-model@" + base.id.partition("@")[2]


def test_what_cannot_be_found_says_what_would_work(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text('{"model_type": "llama"}')
    file = tmp_path / "model.bin"
    file.write_bytes(b"GGUF")
    for model, why in [
        ("gpt-17", "not a name, folder or address"),
        ("models/mine", r"no folder models/mine; .* is hf://models/mine"),
        ("org/name@main", r"no folder org/name@main; .* is hf://org/name@main"),
        ("hf://name", "not of the form hf://ORG/NAME"),
        ("hf://../..", "not of the form"),
        ("./nowhere", "no such folder"),
        (str(empty), "no config.json"),
        (str(bare), r"no \*\.safetensors"),
        (str(file), "is a file"),
    ]:
        with pytest.raises(ModelNotFound, match=why) as error:
            find(model, tmp_path / "cache")
        for hint in (DEFAULT_MODEL, "config.json", "hub", "liveweights model fetch"):
            assert hint in str(error.value)


def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(BrokenModel, match="tokenizer"):
        load_tokenizer(Checkpoint("x@0", "base", tmp_path))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return make_family("qwen3", tmp_path / "tiny")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"num_attention_heads": 0}, "num_attention_heads = 0"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers = 1000000000"),
        ({"num_hidden_layers": -2}, "num_hidden_layers = -2"),
        ({"num_experts": 10**9}, "num_experts = 1000000000"),
        ({"text_config": {"n_layer": 10**12}}, "n_layer"),
        ({"hidden_size": 0}, "hidden_size = 0"),
        ({"rms_norm_eps": float("nan")}, "NaN"),
    ],
)
@pytest.mark.timeout(30)
def test_impossible_numbers_are_named_before_anything_is_built(
    tiny: Path, tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    config = json.loads((tiny / "config.json").read_text())
    (tiny / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(BrokenModel, match=why) as refused:
        find(str(tiny), tmp_path / "cache")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", ["[]", "{", "\x00", "[" * 100_000, '{"a": "' + "x" * (5 << 20)])
def test_a_config_that_is_no_object_is_named(tiny: Path, tmp_path: Path, content: str) -> None:
    (tiny / "config.json").write_text(content)
    with pytest.raises(BrokenModel, match=r"config\.json"):
        find(str(tiny), tmp_path / "cache")


def _header(shape: list[int], end: int) -> bytes:
    head = json.dumps({"a": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}).encode()
    return struct.pack("<Q", len(head)) + head


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 16,
        _header([4], 16) + bytes(15),
        _header([5], 16) + bytes(16),
        _header([2**40, 2**40], 16) + bytes(16),
        _header([4], 16) + bytes(32),
    ],
    ids=["empty", "no header", "cut off", "lying shape", "overflow", "more than it says"],
)
def test_a_file_that_is_not_what_its_header_says_is_named(
    tiny: Path, tmp_path: Path, content: bytes
) -> None:
    (tiny / "model.safetensors").write_bytes(content)
    with pytest.raises(BrokenModel, match=r"model\.safetensors is not a whole safetensors file"):
        find(str(tiny), tmp_path / "cache")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "README.md", "origin.json"])
def test_a_pipe_among_the_files_is_named(tiny: Path, tmp_path: Path, name: str) -> None:
    (tiny / name).unlink(missing_ok=True)
    os.mkfifo(tiny / name)
    with pytest.raises(BrokenModel, match=f"{re.escape(name)} is not a file"):
        find(str(tiny), tmp_path / "cache")


def test_copies_that_differ_in_the_tokenizer_share_neither_id_nor_cache(
    tiny: Path, tmp_path: Path
) -> None:
    first = find(str(tiny), tmp_path / "cache")
    other = tmp_path / "other" / "tiny"
    shutil.copytree(tiny, other)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["!"], tokenizer["model"]["vocab"]["a"] = (
        tokenizer["model"]["vocab"]["a"],
        tokenizer["model"]["vocab"]["!"],
    )
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    second = find(str(other), tmp_path / "cache")
    assert (first.name, first.id != second.id) == (second.name, True)
    made = [to_gguf(one, tmp_path / "cache", "f32") for one in (first, second)]
    assert made[0] != made[1]
    assert made[0].read_bytes() != made[1].read_bytes()
