"""``liveweights ternary``: what it prints, where."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.weights.ternary.models import write_ternary
from typer.testing import CliRunner

from liveweights.cli import app
from liveweights.cli.ternary import bar
from liveweights.learn.updaters.load import load_model
from liveweights.ternary import compilation
from liveweights.ternary.compilation import NoCompiler, chosen


def test_the_bar_leaves_standard_output_to_json(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("Rounding") as tell:
        tell("model.layers.0", 1, 2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Rounding" in captured.err


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def host() -> Any:
        raise NoCompiler

    chosen.cache_clear()
    monkeypatch.setattr(compilation, "host", host)
    yield
    chosen.cache_clear()


@pytest.mark.usefixtures("without_compiler")
def test_without_the_extra_nothing_is_loaded(tmp_path: Path) -> None:
    start = write_ternary(tmp_path, "llama", 64)
    words = ["ternary", "train", str(tmp_path / "dense"), str(start), str(tmp_path / "trained")]
    places = ["--state", str(tmp_path / "state"), "--home", str(tmp_path / "home")]
    refused = CliRunner().invoke(app, [*words, *places])  # nor read: there is no text
    assert refused.exit_code == 2
    assert "pip install 'liveweights[ternary]'" in " ".join(refused.output.split())
    with pytest.raises(NoCompiler):
        load_model(start, torch.float32, torch.device("cpu"))
    assert load_model(tmp_path / "dense", torch.float32, torch.device("cpu")) is not None
