"""The settings that the extension for VS Code declares are those that the server takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

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


def test_a_repository_that_is_opened_decides_neither_what_is_sent_nor_where_to() -> None:
    """VS Code takes settings of the scope ``machine`` from the user alone."""
    own = {name for name, setting in read_settings().items() if setting.get("scope") == "machine"}
    whether = {"consent", "enabled", "training", "languages", "exclude"}
    assert own == whether | {"url", "key", "user", "model", "command"}
