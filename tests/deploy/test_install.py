"""What ``install.sh`` does with an environment that is there, as far as no package is needed; and
what is left where the making of one is broken off."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
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


def move(venv: Path) -> Path:
    return venv.rename(venv.with_name("moved"))


def lose_python(venv: Path) -> Path:
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to(venv / "gone")
    return venv


def upgrade_python(venv: Path) -> Path:
    """Of the system, to which the environment's link leads."""
    (packages,) = venv.glob("lib/python*")
    packages.rename(packages.with_name("python3.1"))
    return venv


@pytest.mark.timeout(600)
@pytest.mark.parametrize("change", [move, lose_python, upgrade_python])
def test_an_environment_that_does_not_start_any_more_is_made_anew(
    tmp_path: Path, change: Callable[[Path], Path]
) -> None:
    """Then there is no package that could be installed, and the installer ends."""
    locks = tmp_path / "locks"
    locks.mkdir()
    (locks / "torch.txt").write_text("torch==1.0\n")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    venv = change(tmp_path / "venv")
    (venv / "left").touch()
    done = subprocess.run(
        ["sh", str(ROOT / "install.sh"), str(venv)],
        cwd=tmp_path,
        env={**os.environ, "PYTHON": sys.executable, "UV": "", "PIP_NO_INDEX": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert "was moved, or its Python is gone" in done.stdout
    assert not (venv / "left").exists()
    subprocess.run([venv / "bin" / "pip", "--version"], check=True)


def test_make_does_not_take_a_dead_environment_for_one_that_is_up_to_date(tmp_path: Path) -> None:
    for name in ("Makefile", "install.sh", "pyproject.toml", "locks/torch.txt", "locks/run.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    venv = tmp_path / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (venv / ".run").touch()

    def steps() -> list[str]:
        """What a demo would do."""
        done = subprocess.run(
            ["make", "--dry-run", "demo"], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return [line for line in done.stdout.splitlines() if "install.sh" in line]

    assert steps() == []
    lose_python(venv)
    assert len(steps()) == 1


def test_what_is_cleaned_away_has_no_database_elsewhere(tmp_path: Path) -> None:
    for name in ("Makefile", "install.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    places = {"own": tmp_path / "own", "others": tmp_path / "others"}
    for name, place in places.items():
        folder = tmp_path / "runs" / name / "home" / "postgres"
        folder.mkdir(parents=True)
        place.mkdir()
        (folder / "location").write_text(f"{place}\n")
        (place / "origin").write_text(f"{folder if name == 'own' else tmp_path}\n")
    for _ in range(2):
        subprocess.run(["make", "clean"], cwd=tmp_path, check=True)
        assert not (tmp_path / "runs").exists()
        assert not places["own"].exists()
        assert places["others"].exists()


def write_program(file: Path, text: str) -> None:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def wait_for(file: Path) -> int:
    """The process that wrote its number there."""
    while not (file.exists() and file.read_text().endswith("\n")):
        time.sleep(0.05)
    return int(file.read_text())


@pytest.mark.timeout(120)
def test_an_interrupt_ends_the_installer_too(tmp_path: Path) -> None:
    """As a terminal sends it: to the whole group in its foreground."""
    started = tmp_path / "started"
    write_program(tmp_path / "uv", f'[ "$1" = --version ] || {{ echo $$ >{started}; sleep 600; }}')
    process = subprocess.Popen(
        ["sh", str(ROOT / "install.sh"), str(tmp_path / "venv")],
        cwd=tmp_path,
        env={**os.environ, "PYTHON": sys.executable, "UV": str(tmp_path / "uv")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    installer = wait_for(started)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(installer, 0)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("target", [".venv-vllm", ".venv-litellm", ".venv-openvino"])
def test_an_environment_of_make_that_broke_off_is_made_anew(tmp_path: Path, target: str) -> None:
    """With a Python whose environments have a pip that waits, and then one that does not."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    started, pip = tmp_path / "started", tmp_path / "pip"
    write_program(tmp_path / "python", f'mkdir -p "$3/bin" && cp {pip} "$3/bin/pip"')
    command = ["make", "--quiet", f"PYTHON={tmp_path / 'python'}", target]
    write_program(pip, f"echo $$ >{started}; exec sleep 600")
    process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True)
    wait_for(started)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) != 0

    write_program(pip, f"echo done >>{tmp_path / 'installed'}")
    for _ in range(2):
        subprocess.run(command, cwd=tmp_path, check=True)
    steps = 2 if target == ".venv-vllm" else 1
    assert (tmp_path / "installed").read_text() == "done\n" * steps
    assert not (tmp_path / target / ".making").exists()
