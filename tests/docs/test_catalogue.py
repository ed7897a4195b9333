"""The commands and cards that docs/catalogue.md shows, run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from tests.docs.commands import ROOT, commands
from tests.docs.test_commands import parse
from typer.testing import CliRunner

from liveweights.catalog.catalogue import Catalogue
from liveweights.cli import app
from liveweights.weights.checkpoint import Checkpoint

PAGE = ROOT / "docs" / "catalogue.md"
TOML = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(), re.M | re.DOTALL)
LINES = [command.line for command in commands(PAGE)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the cards that the page shows."""
    folder = tmp_path / "catalogue"
    folder.mkdir()
    for number, text in enumerate(TOML):
        (folder / f"{number}.toml").write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    "line", [one for one in LINES if "refresh" not in one and "recog" not in one]
)
def test_a_shown_command_answers(line: str, home: Path) -> None:
    _, *words = shlex.split(line)
    result = CliRunner().invoke(app, [*words, "--home", str(home)])
    assert result.exit_code == 0, result.output
    assert len(result.stdout) > 40


def test_the_shown_cards_do_what_the_page_says(home: Path) -> None:
    ours, known = Catalogue(), Catalogue(home)
    card = known.find("Kimi-K3.1-Pro")
    assert ours.licence(ours.find(card.hub_id)) is None
    assert set(known.overrides(card)) == {"licence", "sources", "prices"}
    assert "hosting-agreement" in {duty.kind for duty in known.duties(card)}
    assert [price.version for price in card.prices] == ["contract of 2026"]
    support = known.find("support-7b")
    assert [duty.kind for duty in known.duties(support)] == ["non-commercial", "notice"]
    assert known.is_own(support)


def test_the_page_counts_the_cards() -> None:
    assert f"cards of {len(Catalogue().cards)} open-weight models" in PAGE.read_text()


@pytest.mark.model
def test_what_is_shown_of_recognition_answers(base: Checkpoint, home: Path) -> None:
    shown = [line for line in LINES if "recognise" in line]
    assert len(shown) == 3
    for line in shown:
        assert parse(line)[0] == 0
    _, *words = shlex.split(shown[-1].replace("path/to/folder", str(base.folder)))
    result = CliRunner().invoke(app, [*words, "--home", str(home)])
    assert result.exit_code == 0, result.output
    assert "it is family SmolLM2" in result.stdout
