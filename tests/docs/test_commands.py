"""What README and docs tell people to type exists, with the options that are shown."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path

import pytest
from tests.docs.commands import ROOT, Command, all_commands, commands
from tests.docs.pages import PAGES
from typer.core import TyperCommand
from typer.testing import CliRunner

from liveweights.cli import COMMANDS, app

KNOWN = [c for c in all_commands() if c.line.startswith(("liveweights ", "make ", "python bench/"))]
runner = CliRunner()


def parse(line: str) -> tuple[int, str]:
    """Exit code and output of a command whose options are parsed and which is not run."""
    _, *words = shlex.split(line)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TyperCommand, "invoke", lambda self, context: None)
        result = runner.invoke(app, words)
    return result.exit_code, result.output


@pytest.mark.parametrize("command", KNOWN, ids=str)
def test_a_shown_command_exists(command: Command) -> None:
    if command.line.startswith("liveweights "):
        code, output = parse(command.line)
        assert code == 0, output
    elif command.line.startswith("make "):
        target = command.line.split()[1]
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    else:
        assert (ROOT / command.line.split()[1]).is_file()


def test_a_wrong_option_is_found() -> None:
    assert parse("liveweights status --no-such-option")[0] == 2
    assert parse("liveweights no-such-command")[0] == 2
    assert parse("liveweights status --json")[0] == 0


def test_the_readme_has_the_two_commands() -> None:
    lines = [command.line for command in commands(ROOT / "README.md")]
    assert "make demo" in lines
    assert "make test" in lines


INLINE = re.compile(r"`liveweights ([^`]+)`")
OTHERS = [page for page in PAGES if page.name not in ("commands.md", "settings.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_command_that_is_named_in_a_sentence_exists(page: Path) -> None:
    for named in INLINE.findall(page.read_text()):
        # Up to what stands for something: NAME, FILE, "...".
        words = [*itertools.takewhile(lambda word: re.fullmatch(r"[a-z-]+", word), named.split())]
        names = [word for word in words if not word.startswith("-")]
        options = [word for word in named.split() if word.startswith("--")]
        code, shown = parse(f"liveweights {' '.join(names)} --help")
        assert code == 0, f"{page.name}: {named}"
        for option in options:
            assert option in shown, f"{page.name}: {named}: there is no {option}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_told_on_a_page_of_its_subject(name: str) -> None:
    told = re.compile(rf"liveweights {name}\b|make {name}\b")
    assert any(told.search(page.read_text()) for page in OTHERS)
