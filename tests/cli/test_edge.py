"""A file that the user named and that will not do is a sentence and the code 2; our faults pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from liveweights.cli import app
from liveweights.cli.edge import OURS, refuse_files
from liveweights.config import DATABASE_URL


@pytest.mark.parametrize(
    "words",
    [
        ["status", "--home", "FILE"],
        ["status", "--config", "FOLDER"],
        ["config", "--config", "FOLDER"],
        ["models", "list", "--home", "FILE"],
        ["demo", "--folder", "FILE"],
        ["up", "--home", "FILE/home", "--port", "0"],
        ["db", "create", "shop", "--script", "BYTES", "--home", "FOLDER"],
    ],
    ids=" ".join,
)
def test_a_file_that_will_not_do_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.delenv(DATABASE_URL, raising=False)
    (tmp_path / "FILE").write_text("x")
    (tmp_path / "BYTES").write_bytes(b"select '\xff'")
    (tmp_path / "FOLDER").mkdir()
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, type(result.exception)) == (2, SystemExit), result.output
    named = next(word for word in words if word.partition("/")[0].isupper())
    assert named.partition("/")[0] in result.output


@pytest.mark.parametrize(
    "error",
    [
        BrokenPipeError(32, "Broken pipe"),
        OSError("of nothing"),
        FileNotFoundError(2, "No such file", str(OURS / "store" / "gone.sql")),
        ValueError("of ours"),
    ],
)
def test_faults_of_ours_pass(error: Exception) -> None:
    with pytest.raises(type(error)), refuse_files():
        raise error
