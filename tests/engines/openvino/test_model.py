"""What does not need the package."""

from __future__ import annotations

import sys

import pytest

from liveweights.engines.openvino.model import library
from liveweights.engines.protocol import EngineError


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match=r"pip install 'liveweights\[openvino\]'"):
        library()
