from __future__ import annotations

import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest

from liveweights.weights.gguf_base import make_folder
from liveweights.weights.gguf_source import source_files
from liveweights.weights.models import BrokenModel, find, load_tokenizer
from liveweights.weights.packaged import packaged_gguf
from liveweights.weights.tensors import BrokenFile


def write(path: Path, *, layers: int = 1, tokens: int = 4, pre: str = "gpt-2",
          architecture: str = "llama") -> Path:  # fmt: skip
    """A GGUF whose tensors are of one layer and four tokens, whatever its header says."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_embedding_length(8)
    writer.add_block_count(layers)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([f"t{n}" for n in range(tokens)])
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
        ({"pre": "tekken"}, "pre-tokenizer 'tekken'"),
        ({"architecture": "grok"}, "architecture 'grok'"),
    ],
)
def test_a_header_that_lies_or_is_unknown_is_refused(
    how: dict[str, object], said: str, tmp_path: Path
) -> None:
    file = write(tmp_path / "m.gguf", **how)  # pyright: ignore[reportArgumentType]
    with pytest.raises(BrokenFile, match=said):
        make_folder(file, tmp_path / "cache")


def test_what_is_no_gguf_and_a_missing_part_are_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(BrokenModel, match="does not begin with GGUF"):
        find(str(tmp_path / "text.gguf"), tmp_path / "cache")
    first = write(tmp_path / "m-00001-of-00002.gguf")
    with pytest.raises(BrokenModel, match=r"m-00002-of-00002\.gguf is missing"):
        find(str(first), tmp_path / "cache")


@pytest.mark.model
@pytest.mark.slow
def test_the_id_is_of_the_bytes_wherever_they_are(tmp_path: Path) -> None:
    packaged = packaged_gguf()
    assert packaged is not None
    file = Path(shutil.copy(packaged, tmp_path / "Some.Model.gguf"))
    base = find(str(file), tmp_path / "cache")
    assert base.name == "some.model"
    assert source_files(base.folder) == [file]
    assert load_tokenizer(base).chat_template
    moved = file.rename(tmp_path / "sub.gguf").rename(tmp_path / "Some.Model.gguf")
    assert find(str(moved), tmp_path / "cache").id == base.id
    with file.open("r+b") as stream:
        stream.seek(-1, 2)
        last = stream.read(1)
        stream.seek(-1, 2)
        stream.write(bytes([last[0] ^ 1]))
    assert find(str(file), tmp_path / "cache").id != base.id
