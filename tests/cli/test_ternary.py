"""``liveweights ternary``: what it prints, where."""

from __future__ import annotations

import pytest

from liveweights.cli.ternary import bar


def test_the_bar_leaves_standard_output_to_json(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("Rounding") as tell:
        tell("model.layers.0", 1, 2)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Rounding" in captured.err
