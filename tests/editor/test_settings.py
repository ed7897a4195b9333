from __future__ import annotations

from typing import Any

import pytest

from liveweights.editor.server import BadSettings, read_settings
from liveweights.editor.settings import EditorSettings


@pytest.mark.parametrize("key", ["sk-1\n", " sk-1\r\n", "sk-1"])
def test_white_space_around_a_key_is_none_of_it(key: str) -> None:
    assert EditorSettings(key=key).key == "sk-1"
    assert read_settings({"key": key}, EditorSettings()).key == "sk-1"
    assert read_settings({"key": " "}, EditorSettings(key=key)).key == "sk-1"


@pytest.mark.parametrize(
    "given",
    [{"key": "sk-1\nx"}, {"key": "clé"}, {"exclude": ["[z-a]"]}, {"debounce": float("nan")}],
)
def test_what_is_not_understood_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(BadSettings, match="the settings before it hold on"):
        read_settings(given, EditorSettings())


def test_half_a_surrogate_is_replaced() -> None:
    assert read_settings({"user": "a\ud83d"}, EditorSettings()).user == "a\ufffd"
