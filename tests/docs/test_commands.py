"""What README and docs tell people to type exists, with the options that are shown."""

from __future__ import annotations

import re
import shlex

import pytest
from tests.docs.commands import ROOT, Command, all_commands, commands
from typer.core import TyperCommand
from typer.testing import CliRunner

from liveweights.cli import app

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
