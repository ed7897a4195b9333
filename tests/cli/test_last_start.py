"""A start without --config, on a home whose service was started before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from liveweights.app import supervisor
from liveweights.app.running import FILE, write_running
from liveweights.cli import app
from liveweights.config import DATABASE_URL, EMBEDDED, Config, load_config

SETTINGS = """
alias = "mine"
[api]
keys = { "a-key-of-24-characters-x" = "team" }
[prices.mine]
input = 1.0
"""


class Started(Exception):
    """In place of a service."""


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Config, Path | None]]:
    """Settings of the services that would have been started, and the files that they are of."""
    found: list[tuple[Config, Path | None]] = []

    class Stub:
        def __init__(self, config: Config, *_: Any, file: Path | None, switch: bool) -> None:
            found.append((config, file))

        async def run(self) -> None:
            raise Started

    monkeypatch.setattr(supervisor, "Supervisor", Stub)
    return found


def start(home: Path, verb: str, *words: str) -> Result:
    return CliRunner().invoke(app, [verb, "--home", str(home), *words])


@pytest.mark.parametrize("verb", ["up", "serve"])
def test_the_settings_file_of_the_start_before_holds_as_it_is_now(
    verb: str, tmp_path: Path, given: list[tuple[Config, Path | None]]
) -> None:
    file = tmp_path / "own.toml"
    file.write_text(SETTINGS)
    write_running(tmp_path, load_config(file), "", file)
    file.write_text(SETTINGS.replace("1.0", "2.0"))
    result = start(tmp_path, verb)
    assert isinstance(result.exception, Started), result.output
    assert f"with the settings of {file}" in result.stdout.replace("\n", "")
    config, used = given.pop()
    assert (config.alias, config.api.asks_for_keys, used) == ("mine", True, file)
    assert config.prices is not None
    assert config.prices["mine"].input == 2.0


def test_a_settings_file_that_is_given_holds(
    tmp_path: Path, given: list[tuple[Config, Path | None]]
) -> None:
    write_running(tmp_path, Config(), "", tmp_path / "gone.toml")
    other = tmp_path / "other.toml"
    other.write_text('alias = "other"')
    result = start(tmp_path, "up", "--config", str(other))
    assert isinstance(result.exception, Started), result.output
    assert "with the settings of" not in result.stdout
    assert [(config.alias, file) for config, file in given] == [("other", other)]


def test_a_settings_file_that_is_gone_is_named(
    tmp_path: Path, given: list[tuple[Config, Path | None]]
) -> None:
    write_running(tmp_path, Config(), "", tmp_path / "gone.toml")
    result = start(tmp_path, "up")
    assert result.exit_code == 2
    assert f"{tmp_path}/gone.toml, which is gone" in result.stderr.replace("\n", "")
    assert "--config FILE" in result.stderr
    assert given == []
    assert isinstance(start(tmp_path, "up", "--config", "/dev/null").exception, Started)
    assert given[0][0].alias == Config().alias


def test_a_database_is_not_left_for_an_empty_one_unless_somebody_says_so(
    tmp_path: Path, given: list[tuple[Config, Path | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = "postgresql://me:secret@db.example/all"
    monkeypatch.setenv(DATABASE_URL, dsn)
    write_running(tmp_path, Config(), "")
    assert isinstance(start(tmp_path, "up").exception, Started)
    monkeypatch.delenv(DATABASE_URL)
    result = start(tmp_path, "up")
    assert result.exit_code == 2
    assert "host=db.example" in result.stderr
    assert DATABASE_URL in result.stderr
    assert "secret" not in result.stderr
    file = tmp_path / "own.toml"
    file.write_text(f'database = "{EMBEDDED}"')
    assert isinstance(start(tmp_path, "up", "--config", str(file)).exception, Started)
    assert len(given) == 2


@pytest.mark.parametrize("torn", ["", '{"config": {"database": "po'])
def test_a_torn_note_of_the_start_before_is_not_asked_where_all_is_said(
    torn: str, tmp_path: Path, given: list[tuple[Config, Path | None]]
) -> None:
    (tmp_path / FILE).write_text(torn)
    file = tmp_path / "own.toml"
    file.write_text('alias = "mine"')
    for words in ((), ("--config", str(file))):
        result = start(tmp_path, "up", *words)
        assert result.exit_code == 2
        assert f"'{EMBEDDED}'" in result.stderr
    file.write_text(f'database = "{EMBEDDED}"')
    assert isinstance(start(tmp_path, "up", "--config", str(file)).exception, Started)
    assert len(given) == 1
