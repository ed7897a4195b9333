from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.weights.ternary.drawing import same
from tests.weights.ternary.models import write_ternary
from typer.testing import CliRunner

from liveweights.cli import app
from liveweights.weights.gguf_header import read_header
from liveweights.weights.tensors import Tensors
from liveweights.weights.ternary.blocks import NUMBERS, SIZES, BlockType
from liveweights.weights.ternary.folder import read_matrices
from liveweights.weights.ternary.layout import Group, Packing


def run(*words: str | Path) -> str:
    """What the command prints; it must succeed."""
    result = CliRunner().invoke(app, ["ternary", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(
    ("family", "group", "packing", "kind"),
    [
        ("llama", 64, "2bit", "Q2_0"), ("llama", 128, "base3", "Q2_0"),
        ("qwen3", 128, "2bit", "PQ2_0"), ("llama", 128, "2bit", "PTQ1_0"),
        ("qwen3", 128, "2bit", "Q2_0_g128"), ("llama", 256, "2bit", "TQ2_0"),
        ("qwen3", 256, "base3", "TQ1_0"),
    ],
)  # fmt: skip
def test_what_was_exported_is_imported_bit_for_bit(
    family: str, group: Group, packing: Packing, kind: BlockType, tmp_path: Path
) -> None:
    source = write_ternary(tmp_path, family, group, packing, embeddings=group == 256)
    home = ("--home", tmp_path / "home")
    file, back = tmp_path / "out.gguf", tmp_path / "back"
    said = run("export", source, file, "--type", kind, *home)
    assert f"as {kind}" in said
    assert NUMBERS[kind] in read_header(file).types.values()
    run("import", file, back, *home)
    before, after = read_matrices(source), read_matrices(back)
    smaller = SIZES[kind][0]
    assert before.keys() == after.keys()
    assert all(same(after[name], one.with_group(smaller)) for name, one in before.items())
    one, other = Tensors(source), Tensors(back)
    packed = {f"{name}.{leaf}" for name in before for leaf in ("codes", "trits", "scales")}
    others = set(one.names()) - packed
    assert others == set(other.names()) - packed
    for name in others:
        assert np.array_equal(one.read(name).float(), other.read(name).float()), name


def test_llama_cpps_types_are_chosen(tmp_path: Path) -> None:
    for group, kind in ((64, "Q2_0"), (128, "Q2_0"), (256, "TQ2_0")):
        place = tmp_path / str(group)
        source = write_ternary(place, "llama", group)
        assert f"as {kind}," in run("export", source, place / "a.gguf", "--home", place)


def test_what_cannot_be_written_says_why(tmp_path: Path) -> None:
    source = write_ternary(tmp_path, "llama", 64)
    home = ["--home", str(tmp_path / "home")]

    def refuse(*words: str) -> str:
        result = CliRunner().invoke(app, ["ternary", "export", *words, *home])
        assert result.exit_code == 2
        return " ".join(result.output.split())

    out = str(tmp_path / "a.gguf")
    assert "convert the dense model with --group 256" in refuse(str(source), out, "--type", "TQ2_0")
    assert "TQ2_0" in refuse(str(source), out, "--type", "q9")
    assert "no ternary checkpoint" in refuse(str(tmp_path / "dense"), out)
    assert not Path(out).exists()
    Path(out).write_text("mine")
    assert "there already" in refuse(str(source), out)
    assert Path(out).read_text() == "mine"
