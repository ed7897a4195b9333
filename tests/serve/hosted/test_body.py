"""The model in a body: read as upstreams read it, and nothing else changed."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.serve.gateway.members import BEYOND, COUNTED
from liveweights.serve.hosted.body import OURS, Asked, read_asked, with_model

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


NAMES = st.text().filter(lambda name: name.casefold() not in OURS | BEYOND | COUNTED)


@given(st.dictionaries(NAMES, VALUES))
def test_only_the_model_is_another(members: dict[str, Any]) -> None:
    body = json.dumps({**members, "model": "big", "route": {"local_only": True}}).encode()
    after, beyond = with_model(body, "o/gpt")
    assert beyond == []
    assert json.loads(after) == {**members, "model": "o/gpt"}
    assert read_asked(body) == Asked(model="big", route={"local_only": True})
    assert read_asked(after) == Asked(model="o/gpt")


def test_values_are_the_same_bytes() -> None:
    body = b'{"model": "big", "a": 1e400, "b": 0.10, "c": {"x" : "\\u0041", "model": "big"}}'
    members = msgspec.json.decode(with_model(body, "m")[0], type=dict[str, msgspec.Raw])
    assert bytes(members["a"]) == b"1e400"
    assert bytes(members["b"]) == b"0.10"
    assert bytes(members["c"]) == b'{"x" : "\\u0041", "model": "big"}'


def test_no_second_member_names_another_model() -> None:
    body = b'{"model": "big", "Model": "dear", "mod\\u0065l": "big", "MODEL": "dear"}'
    assert json.loads(with_model(body, "m")[0]) == {"model": "m"}
    assert read_asked(b'{"model": "big", "model": "small"}') == Asked(model="small")


def test_nothing_chooses_another_model_or_what_costs_more() -> None:
    asked = {
        "model": "cheap",
        "models": ["dear"],
        "Plugins": [{"id": "web"}],
        "provider": {"only": ["dearest"]},
        "service_tier": "priority",
        "web_search_options": {},
        "preset": "dear",
        "temperature": 0.5,
    }
    after, beyond = with_model(json.dumps(asked).encode(), "m")
    assert json.loads(after) == {"model": "m", "temperature": 0.5}
    assert beyond == [name for name in asked if name not in ("model", "temperature")]


def test_no_second_member_says_another_limit() -> None:
    asked = {"max_tokens": 1, "Max_Tokens": 10**5, "N": 9, "STREAM": True, "n": 1}
    after, left_out = with_model(json.dumps({**asked, "model": "cheap"}).encode(), "m")
    assert json.loads(after) == {"model": "m", "max_tokens": 1, "n": 1}
    assert left_out == ["Max_Tokens", "N", "STREAM"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"model": 3}', b"{}", b"\xff", b"[" * 9999])
def test_what_names_no_model(body: bytes) -> None:
    assert read_asked(body) is None
