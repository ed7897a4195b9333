"""``liveweights verify``, on a base that somebody touched."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psycopg
import pytest
from tests.learn.families import make_family
from typer.testing import CliRunner

from liveweights.catalog.card import read_card
from liveweights.cli import app
from liveweights.weights.models import find
from liveweights.weights.registry import register

runner = CliRunner()


@pytest.mark.parametrize("name", ["tokenizer.json", "generation_config.json", "model.safetensors"])
def test_a_changed_file_of_a_base_is_named(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("LIVEWEIGHTS_DATABASE_URL", database_dsn)
    folder, cache = make_family("qwen3", tmp_path / "tiny"), tmp_path / "cache"
    base = find(str(folder), cache)

    async def tell() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            await register(conn, base, read_card(base, cache))

    asyncio.run(tell())
    command = ["verify", "--home", str(tmp_path / "home")]
    result = runner.invoke(app, command)
    assert (result.exit_code, result.output) == (0, f"{base.id}: as it was made\n")

    with (folder / name).open("ab") as file:
        file.write(b" ")
    result = runner.invoke(app, [*command, base.id])
    assert result.exit_code == 1
    assert f"{folder / name} was changed" in result.output

    (folder / name).unlink()
    result = runner.invoke(app, command)
    assert result.exit_code == 1
    assert name in result.output or "no .safetensors" in result.output


def test_where_there_is_nothing_nothing_is_said_to_be_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LIVEWEIGHTS_DATABASE_URL", raising=False)
    settings = tmp_path / "settings.toml"
    settings.write_text(f"signing.key = {str(tmp_path / 'key')!r}")
    for command in ("verify", "sign"):
        words = [command, "--home", str(tmp_path / "nowhere"), "--config", str(settings)]
        result = runner.invoke(app, words)
        assert result.exit_code == 2
        assert f"no checkpoint in {tmp_path / 'nowhere'}" in result.output.replace("\n", "")
