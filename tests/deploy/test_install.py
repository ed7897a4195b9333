"""What ``install.sh`` does with an environment that is there, as far as no package is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.pages import ROOT


def install(venv: Path, place: Path) -> None:
    subprocess.run(
        ["sh", str(ROOT / "install.sh"), str(venv)],
        cwd=place,
        env={**os.environ, "PYTHON": sys.executable, "PROJECT": "", "UV": ""},
        check=True,
        capture_output=True,
        timeout=240,
    )


@pytest.mark.timeout(300)
def test_an_environment_whose_making_broke_off_is_completed(tmp_path: Path) -> None:
    venv, locks = tmp_path / "venv", tmp_path / "locks"
    locks.mkdir()
    (locks / "torch.txt").write_text("torch==1.0\n")
    (locks / "run.txt").write_text("# nothing\n")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    torch = packages / "torch-1.0.dist-info"
    torch.mkdir()
    (torch / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 1.0\n")
    python = venv / "bin" / "python"
    asking = [python, "-m", "pip", "--version"]
    assert subprocess.run(asking, check=False, capture_output=True).returncode != 0
    install(venv, tmp_path)
    assert subprocess.run(asking, check=False, capture_output=True).returncode == 0
    assert torch.exists()  # what was there already stays
    pip = next(packages.glob("pip-*.dist-info")).stat().st_mtime_ns
    install(venv, tmp_path)
    assert next(packages.glob("pip-*.dist-info")).stat().st_mtime_ns == pip
