from __future__ import annotations

import stat
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from liveweights.app.running import FILE, read_running, read_start, url_of, write_running
from liveweights.config import DATABASE_URL, EMBEDDED, Config, load_config
from liveweights.model_table import ConfigError


def test_a_home_knows_its_settings_and_address_and_no_secret_twice(tmp_path: Path) -> None:
    file = tmp_path / "liveweights.toml"
    file.write_text(
        'alias = "mine"\n[api]\nport = 9123\noperator_key = "an-operator-key-of-24-ch"\n'
        'keys = { "a-key-of-24-characters-x" = "team" }\n[learn]\nrank = 3\n'
    )
    config = load_config(file)
    write_running(tmp_path, config, "http://127.0.0.1:9123")
    running = read_running(tmp_path)
    assert running is not None
    assert (running.url, running.config.alias) == ("http://127.0.0.1:9123", "mine")
    assert (running.config.api.port, running.config.learn.rank) == (9123, 3)
    written = (tmp_path / FILE).read_text()
    assert "a-key-of-24" not in written
    assert "an-operator-key" not in written
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_the_next_start_goes_by_the_same_file_and_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_start(tmp_path) is None
    monkeypatch.chdir(tmp_path)
    config = Config(database="postgresql://db.example/all")
    write_running(tmp_path, config, "http://127.0.0.1:1", Path("own.toml"))
    text = (tmp_path / FILE).read_text()
    start = read_start(tmp_path)
    assert start is not None
    assert start.file == str(tmp_path / "own.toml")
    assert conninfo_to_dict(start.database or "") == {"host": "db.example", "dbname": "all"}
    # Also what another version of the service wrote.
    (tmp_path / FILE).write_text(text.replace('"alias"', '"no such"'))
    assert read_start(tmp_path) == start
    write_running(tmp_path, Config(database=EMBEDDED), "http://127.0.0.1:1")
    start = read_start(tmp_path)
    assert start is not None
    assert (start.file, start.database) == ("", None)


def test_a_later_start_is_what_counts(tmp_path: Path) -> None:
    for port in (1, 2):
        write_running(tmp_path, Config(), url_of("0.0.0.0", port))
    running = read_running(tmp_path)
    assert running is not None
    assert running.url == "http://127.0.0.1:2"
    assert running.config == Config(database=EMBEDDED, cache=str(Config().cache_folder()))


def test_nothing_ran_or_another_version_did(tmp_path: Path) -> None:
    assert read_running(tmp_path) is None
    (tmp_path / FILE).write_text('{"config": {"no such": 1}, "url": ""}')
    with pytest.raises(ConfigError, match="--config"):
        read_running(tmp_path)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("fe80::1", "http://[fe80::1]:80"),
        ("gpu-3", "http://gpu-3:80"),
    ],
)
def test_an_address_is_a_url(host: str, url: str) -> None:
    assert url_of(host, 80) == url


def test_a_home_knows_the_database_and_cache_that_only_its_services_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATABASE_URL, "postgresql://me@db.example/wanted")
    monkeypatch.setenv("PGPASSWORD", "p/a:s'sword ü")
    monkeypatch.setenv("PGUSER", "not-me")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    write_running(tmp_path, Config(), "")
    for name in (DATABASE_URL, "PGPASSWORD", "PGUSER", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
    running = read_running(tmp_path)
    assert running is not None
    dsn = running.config.database_url()
    assert dsn is not None
    assert conninfo_to_dict(dsn) == {
        "host": "db.example",
        "dbname": "wanted",
        "user": "me",
        "password": "p/a:s'sword ü",
    }
    assert running.config.cache_folder() == Path("/var/cache/liveweights")


def test_a_home_with_an_embedded_database_keeps_to_it_whatever_a_commands_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(DATABASE_URL, raising=False)
    write_running(tmp_path, Config(), "")
    monkeypatch.setenv(DATABASE_URL, "postgresql://another.example/")
    running = read_running(tmp_path)
    assert running is not None
    assert running.config.database_url() is None
