from __future__ import annotations

import pytest

from liveweights.exposure.without import WithoutError, parse_without, reasons

from .models import SERVED, make_served


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("origin=CN", {"code", "chat", "big", "far"}),
        ("country = us", {"small", "open"}),
        ("maker=moonshot", {"big", "far"}),
        ("maker=Alibaba (Qwen)", {"code", "chat"}),
        ("licence=apache-2.0", {"code", "chat", "small", "open"}),
        ("upstream=api.example", {"big"}),
        ("country=C", set()),
        ("maker=nobody", set()),
    ],
)
def test_what_goes_with_it(text: str, gone: set[str]) -> None:
    without = parse_without(text)
    assert {one.alias for one in SERVED if any(reasons(one, [without]))} == gone


def test_what_was_derived_from_it_goes_too() -> None:
    tiny = make_served("tiny", "prism-ml/Bonsai-8B-gguf")
    assert list(reasons(tiny, [parse_without("maker=qwen")])) == ["maker Alibaba (Qwen)"]


@pytest.mark.parametrize("text", ["CN", "origin=", "planet=mars", "maker= - "])
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(WithoutError, match="write NAME=VALUE, such as origin=CN"):
        parse_without(text)
