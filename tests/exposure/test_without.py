from __future__ import annotations

import pytest

from liveweights.exposure.without import WithoutError, parse_without, reasons

from .models import CATALOGUE, SERVED, make_served


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("origin=CN", {"code", "chat", "big", "far"}),
        ("country = us", {"small", "open"}),
        ("maker=moonshot", {"big", "far"}),
        ("maker=Alibaba (Qwen)", {"code", "chat"}),
        ("licence=apache-2.0", {"code", "chat", "small", "open"}),
        ("upstream=api.example", {"big"}),
        ("country=FR", set()),
        ("country=unknown", set()),
        ("maker=nobody", set()),
    ],
)
def test_what_goes_with_it(text: str, gone: set[str]) -> None:
    without = parse_without(text)
    assert {one.alias for one in SERVED if any(reasons(one, [without]))} == gone


def test_what_was_derived_from_it_goes_too() -> None:
    tiny = make_served("tiny", "prism-ml/Bonsai-8B-gguf")
    assert list(reasons(tiny, [parse_without("maker=qwen")])) == ["maker Alibaba (Qwen)"]
    assert list(reasons(tiny, [parse_without("family=Qwen3")])) == ["family Qwen3"]
    assert tiny.values("family") == ("Bonsai", "Qwen3")


@pytest.mark.parametrize("text", ["origin=China", "country=USA", "country=C"])
def test_a_country_is_two_letters(text: str) -> None:
    with pytest.raises(WithoutError, match="two letters"):
        parse_without(text)


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("maker=Moonshoot", "Moonshot AI"),
        ("licence=Apache 2", None),
        ("licence=Apache 3", "Apache-2.0"),
        ("upstream=https://api.example", "api.example"),
        ("family=nothing", "Qwen3"),
        ("licence_kind=free", "open"),
        ("licence_kind=restricted", None),
        ("licence=gemma", None),
        ("country=FR", None),
        ("hardware=unknown", None),
    ],
)
def test_what_no_model_is_of_is_refused(text: str, near: str | None) -> None:
    without = parse_without(text)
    if near is None:
        without.check(SERVED, CATALOGUE.licences)
        return
    with pytest.raises(WithoutError, match=rf"there are .*{near}"):
        without.check(SERVED, CATALOGUE.licences)


@pytest.mark.parametrize("text", ["CN", "origin=", "planet=mars", "maker= - "])
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(WithoutError, match="write NAME=VALUE, such as origin=CN"):
        parse_without(text)
