from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest
from typer.testing import CliRunner

from liveweights.cli import COMMANDS, app

RUNNER = CliRunner()


def test_help_lists_every_command_and_reads_as_it_was_written() -> None:
    text = RUNNER.invoke(app, ["--help"], terminal_width=200).output
    for name in COMMANDS:
        assert f" {name} " in text
    assert "policy in ." not in text  # brackets are markup


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_where_the_table_says(name: str) -> None:
    module, _, attribute = COMMANDS[name].partition(":")
    assert callable(getattr(import_module(module), attribute))
    assert RUNNER.invoke(app, [name, "--help"]).exit_code == 0


def test_a_slip_is_answered_with_what_was_meant() -> None:
    found = RUNNER.invoke(app, ["rolback"])
    assert found.exit_code == 2
    assert "'rollback'" in found.output


def test_taking_a_release_back_waits_for_no_library_that_it_does_not_use() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom liveweights.cli import app\n"
        "assert CliRunner().invoke(app, ['rollback', '--help']).exit_code == 0\n"
        "print([name for name in ('torch', 'numpy', 'aiohttp', 'jinja2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
