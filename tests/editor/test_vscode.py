"""The settings that the extension for VS Code declares are those that the server takes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from liveweights.editor.settings import EditorSettings

PACKAGE = Path(__file__).parents[2] / "editors" / "vscode" / "package.json"


def read_settings() -> dict[str, dict[str, Any]]:
    contributes = json.loads(PACKAGE.read_bytes())["contributes"]
    declared = contributes["configuration"]["properties"]
    return {name.removeprefix("liveweights."): setting for name, setting in declared.items()}


def read_declared() -> dict[str, dict[str, Any]]:
    """What ``package.json`` says of each setting but the program, which the server is not told."""
    return {
        name: {key: value for key, value in setting.items() if key != "scope"}
        for name, setting in read_settings().items()
        if name != "command"
    }


def test_every_setting_is_declared_with_its_default_and_bounds() -> None:
    schema = json.loads(msgspec.json.encode(msgspec.json.schema(EditorSettings)))
    assert read_declared() == schema["$defs"]["EditorSettings"]["properties"]


def test_what_is_declared_as_defaults_is_taken() -> None:
    defaults = {name: setting["default"] for name, setting in read_declared().items()}
    assert msgspec.convert(defaults, EditorSettings) == EditorSettings()


def test_a_folder_that_is_opened_decides_nothing() -> None:
    """VS Code offers settings of the scope ``machine`` to the user alone; which of those that it
    lets through are read is in ``src/settings.ts``."""
    assert {setting.get("scope") for setting in read_settings().values()} == {"machine"}


@pytest.mark.skipif(not (PACKAGE.parent / "node_modules").is_dir(), reason="make vsix")
def test_what_the_extension_tests_of_itself() -> None:
    done = subprocess.run(
        ("npm", "test", "--silent"), cwd=PACKAGE.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_setting_is_read_but_as_the_users_own() -> None:
    source = (PACKAGE.parent / "src" / "extension.ts").read_text()
    assert ".get(" not in source
    assert ".get<" not in source
