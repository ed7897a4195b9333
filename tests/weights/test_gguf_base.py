from __future__ import annotations

import json
import shutil
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sharing.test_forms import ask_llama
from tests.sharing.tiny import read_logprobs
from tests.weights.gguf_files import facts_of, make_model, train_tokenizer, write_gguf

from liveweights.catalog.card import read_card
from liveweights.weights.content import HASHES, source_files
from liveweights.weights.gguf_base import (
    is_exact,
    learning_obstacle,
    make_exact_config,
    make_folder,
)
from liveweights.weights.gguf_header import read_header
from liveweights.weights.models import BrokenModel, find, load_tokenizer, read_json
from liveweights.weights.packaged import packaged_gguf
from liveweights.weights.registry import Tampered, is_named_by_content, verify
from liveweights.weights.tensors import BrokenFile


def write(path: Path, *, layers: int = 1, tokens: int = 4, pre: str = "gpt-2",
          architecture: str = "llama", parts: int = 0) -> Path:  # fmt: skip
    """A GGUF whose tensors are of one layer and four tokens, whatever its header says."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_embedding_length(8)
    writer.add_block_count(layers)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([*"ab", "ab", *(f"t{n}" for n in range(tokens - 3))])
    writer.add_token_types([1] * tokens)
    writer.add_token_merges(["a b"])
    if parts:
        writer.add_uint16("split.count", parts)
    writer.add_tensor("token_embd.weight", np.zeros((4, 8), np.float32))
    writer.add_tensor("blk.0.attn_q.weight", np.zeros((8, 8), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"layers": 9000}, "has 1 layers, where its header says 9000"),
        ({"tokens": 5}, r"embeddings of the shape \(8, 4\).*each of 5 tokens"),
        ({"pre": "bloom"}, "pre-tokenizer 'bloom'"),
        ({"architecture": ""}, "does not say its general.architecture"),
        ({"parts": 3}, "one of 3 files, of which 1 are named"),
    ],
)
def test_a_header_that_lies_or_is_unknown_is_refused(
    how: dict[str, Any], said: str, tmp_path: Path
) -> None:
    file = write(tmp_path / "m.gguf", **how)
    with pytest.raises(BrokenFile, match=said):
        make_folder(file, tmp_path / "cache")


def test_what_is_no_gguf_and_a_missing_part_are_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(BrokenModel, match="does not begin with GGUF"):
        find(str(tmp_path / "text.gguf"), tmp_path / "cache")
    first = write(tmp_path / "m-00001-of-00002.gguf")
    with pytest.raises(BrokenModel, match=r"m-00002-of-00002\.gguf is missing"):
        find(str(first), tmp_path / "cache")


LIES = (0, 1, 2, 8, 9, 255, 1 << 20, (1 << 31) - 1, (1 << 32) - 1, 1 << 40, 1 << 61, (1 << 64) - 1)
MOST_MEMORY = 16 << 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    file = write(folder / "a.gguf")
    make_folder(file, folder / "cache")  # also so that libraries are loaded
    return file.read_bytes()


@given(st.data())
@settings(max_examples=150)
def test_no_lie_in_a_header_takes_memory_or_ends_in_anything_but_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("lies")
    changed = bytearray(whole)
    header = len(whole) - 4 * (4 * 8 + 8 * 8)
    for _ in range(data.draw(st.integers(1, 3))):
        lie, form = data.draw(st.sampled_from(LIES)), data.draw(st.sampled_from("BIQ"))
        size = struct.calcsize(form)
        place = data.draw(st.integers(4, header - size))
        changed[place : place + size] = (lie % 256**size).to_bytes(size, "little")
    file = folder / "b.gguf"
    file.write_bytes(changed)
    why = str(file)
    tracemalloc.start()
    try:
        make_folder(file, folder / "cache")
    except BrokenFile as error:
        why = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert str(file) in why
    assert peak < MOST_MEMORY


def test_a_file_is_known_by_all_its_bytes_wherever_they_are(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "Some.Model.gguf")
    cache = tmp_path / "cache"
    base = find(str(file), cache)
    assert base.name == "some.model"
    assert source_files(base.folder) == [file]
    assert load_tokenizer(base).chat_template
    card = read_card(base, cache)
    assert (card["licence"], card["origin"]) == ("mit", "Some.Model.gguf")
    verify(base, card["files"])
    assert card["parameters"] == sum(w.numel() for w in make_model("llama", 400).parameters())
    moved = file.rename(tmp_path / "sub.gguf").rename(tmp_path / "Some.Model.gguf")
    assert find(str(moved), cache).id == base.id
    for place in (-1, file.read_bytes().index(b"<|im_start|>{{")):  # a weight; the template
        old = file.read_bytes()
        new = bytearray(old)
        new[place] ^= 1
        file.write_bytes(new)
        assert not is_named_by_content(base, cache / HASHES)
        with pytest.raises(Tampered, match=r"00001\.gguf was changed"):
            verify(base, card["files"])
        assert find(str(file), cache).id != base.id
        file.write_bytes(old)
    assert find(str(file), cache).id == base.id
    assert is_named_by_content(base, cache / HASHES)


def test_a_split_model_is_one_and_its_parts_are_found_behind_a_link(tmp_path: Path) -> None:
    first = write_gguf(tmp_path / "m.gguf", "qwen2", parts=3, pre="qwen2")
    base = find(str(first), tmp_path / "cache")
    assert base.name == "m"
    assert len(source_files(base.folder)) == 3
    assert learning_obstacle(base.folder) is None
    links = tmp_path / "snapshot"
    links.mkdir()
    for part in source_files(base.folder):
        blob = part.rename(tmp_path / f"blob-{part.stem}")
        (links / part.name).symlink_to(blob)
    assert find(str(links / first.name), tmp_path / "cache").id == base.id
    with pytest.raises(BrokenModel, match=r"name the first, m-00001-of-00003\.gguf"):
        find(str(links / "m-00002-of-00003.gguf"), tmp_path / "cache")


def test_parts_that_have_a_tensor_twice_are_refused(tmp_path: Path) -> None:
    first = write_gguf(tmp_path / "m.gguf", parts=2)
    second = tmp_path / "m-00002-of-00002.gguf"
    other = min(read_header(second).shapes).encode()
    same = [n.encode() for n in read_header(first).shapes if len(n) == len(other)]
    assert same
    second.write_bytes(second.read_bytes().replace(other, same[0], 1))
    with pytest.raises(BrokenFile, match=f"{same[0].decode()}' twice"):
        make_folder(first, tmp_path / "cache")


@pytest.mark.parametrize(("kind", "exact"), [("f16", True), ("f32", True), ("q4_0", False)])
def test_whether_a_file_is_quantised_is_seen_in_its_tensors(
    kind: str, exact: bool, tmp_path: Path
) -> None:
    base = find(str(write_gguf(tmp_path / "m.gguf", kind=kind)), tmp_path / "cache")
    assert is_exact(base.folder) == exact
    config = json.loads((base.folder / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]


@pytest.mark.model
@pytest.mark.slow
def test_the_packaged_models_own_file_is_a_base(tmp_path: Path) -> None:
    packaged = packaged_gguf()
    assert packaged is not None
    file = Path(shutil.copy(packaged, tmp_path / "smollm2.gguf"))
    base = find(str(file), tmp_path / "cache")
    assert load_tokenizer(base).chat_template
    assert learning_obstacle(base.folder) is None
    assert not is_exact(base.folder)


@pytest.mark.model
def test_yarn_is_computed_as_llama_cpp_computes_it(tmp_path: Path) -> None:
    import torch

    tokens = len(facts_of(train_tokenizer("qwen2"), "qwen2")["tokenizer.ggml.tokens"])
    yarn = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0,
            "original_max_position_embeddings": 16}  # fmt: skip
    model = make_model("qwen3", tokens, rope_parameters=yarn)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "q_proj" in name or "k_proj" in name:
                weight.mul_(4)  # where it looks shall matter
    file = write_gguf(tmp_path / "m.gguf", "qwen3", "f32", pre="qwen2", model=model)
    base = find(str(file), tmp_path / "cache")
    ids = [(7 * n * n + 3 * n) % tokens for n in range(40)]
    theirs = ask_llama(file, None, ids)

    def difference(config: dict[str, Any]) -> float:
        other = make_model("qwen3", tokens, rope_parameters=config["rope_parameters"])
        other.load_state_dict(model.state_dict())
        ours = read_logprobs(other, ids)[-1]
        return sum(abs(float(ours[id]) - value) for id, value in theirs.items()) / len(theirs)

    assert difference(make_exact_config(base.folder)) < 0.02
    assert difference(read_json(base.folder / "config.json")) > 0.2
