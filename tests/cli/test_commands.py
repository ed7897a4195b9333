from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from liveweights.cli import app
from liveweights.config import Config

runner = CliRunner()


def test_the_printed_settings_are_a_settings_file() -> None:
    result = runner.invoke(app, ["config"])
    assert result.exit_code == 0
    assert msgspec.convert(tomllib.loads(result.stdout), Config) == Config()


def test_tables_within_tables_are_printed(tmp_path: Path) -> None:
    path = tmp_path / "some.toml"
    path.write_text("api.limits.requests_per_minute = 7")
    result = runner.invoke(app, ["config", "--config", str(path)])
    printed = tomllib.loads(result.stdout)
    assert printed["api"]["limits"]["requests_per_minute"] == 7
    assert msgspec.convert(printed, Config).api.limits.requests_per_minute == 7


@pytest.mark.parametrize("text", ["cycle.every = 'x'", "[learn]\nrnk = 3", "= broken"])
def test_a_bad_settings_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    result = runner.invoke(app, ["config", "--config", str(path)])
    assert result.exit_code == 2
    assert "bad.toml" in result.output


def test_a_home_without_a_service_is_refused(tmp_path: Path) -> None:
    result = runner.invoke(app, ["status", "--home", str(tmp_path)])
    assert result.exit_code == 2
    assert "liveweights up" in result.output


def test_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    result = runner.invoke(app, ["serve", "--home", str(tmp_path), "--precision", "q5"])
    assert result.exit_code == 2
    assert "q4, q8" in result.output
