"""The README shows what a demo showed, and a command can show a newer one."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import pytest
from tests.docs.pages import ROOT


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("board", ROOT / "docs" / "board.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_newer_board_takes_the_place_of_the_old_one() -> None:
    page = (ROOT / "README.md").read_text()
    with_board = load().with_board
    once = with_board(page, "\nfirst \\1 board\n")
    assert "```text\nfirst \\1 board\n```" in once
    again = with_board(once, "second")
    assert "first \\1 board" not in again
    assert with_board(again, "first \\1 board") == once
    with pytest.raises(ValueError, match="no place"):
        with_board("# README", "x")


def test_the_readme_shows_a_board_with_its_figures() -> None:
    board = re.search(r"<!-- board:.*?```text\n(.*?)```\n", (ROOT / "README.md").read_text(), re.S)
    assert board, "the README has no board: run the demo, then `make board`"
    for what in ("RELEASED", "requests", "0 failed", "accept rate", "PROOF", "mean reward"):
        assert what in board[1], what
