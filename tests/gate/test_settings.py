from __future__ import annotations

from typing import Any

import pytest

from liveweights.gate.settings import GateSettings


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"better": ("code",)}, "gate.better names 'code', which gate.suites does not"),
        ({"margins": {"code": 0.1}}, "gate.margins names 'code'"),
        ({"suites": ("code",), "margins": {"code": 0.0}}, "gate.margins.code is 0.0"),
    ],
)
def test_what_cannot_be_meant_is_refused(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GateSettings(**keys)
