"""What upstreams do otherwise than OpenAI."""

from __future__ import annotations

import json
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.serve.hosted.dialect import Quirk, adapt, key_header

QUIRKS: tuple[Quirk, ...] = get_args(Quirk)


def put(body: dict[str, Any], *quirks: Quirk) -> Any:
    members = msgspec.json.decode(json.dumps(body), type=dict[str, msgspec.Raw])
    return json.loads(msgspec.json.encode(adapt(members, quirks)))


@pytest.mark.parametrize(
    ("quirk", "before", "after"),
    [
        ("max_tokens", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ("max_tokens", {"max_tokens": 4, "max_completion_tokens": 5}, {"max_tokens": 4}),
        ("max_completion_tokens", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("max_tokens", {"max_tokens": None, "max_completion_tokens": 5}, {"max_tokens": 5}),
        ("max_tokens", {"max_tokens": 4, "max_completion_tokens": None}, {"max_tokens": 4}),
        ("max_tokens", {"max_completion_tokens": None}, {"max_tokens": None}),
        (
            "max_completion_tokens",
            {"max_tokens": 5, "max_completion_tokens": None},
            {"max_completion_tokens": 5},
        ),
        ("no_stream_options", {"stream_options": {"include_usage": True}, "n": 1}, {"n": 1}),
        ("no_metadata", {"metadata": {}, "store": True, "n": 1}, {"n": 1}),
        ("api_key_header", {"metadata": {}}, {"metadata": {}}),
        ("system_role", {"messages": "nothing"}, {"messages": "nothing"}),
        ("system_role", {"messages": [1]}, {"messages": [1]}),
        (
            "system_role",
            {"messages": [{"role": "developer", "content": "x"}, {"role": "user"}, {}]},
            {"messages": [{"role": "system", "content": "x"}, {"role": "user"}, {}]},
        ),
    ],
)
def test_each_quirk_changes_what_it_is_about(
    quirk: Quirk, before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert put(before, quirk) == after
    assert put(after, quirk) == after
    assert put(before) == before


@given(
    st.dictionaries(st.sampled_from(["temperature", "prompt", "tools", "user"]), st.integers()),
    st.sets(st.sampled_from(QUIRKS)).map(tuple),
)
def test_all_else_is_as_it_was(body: dict[str, Any], quirks: tuple[Quirk, ...]) -> None:
    assert put(body, *quirks) == body


def test_the_key_is_told_where_the_upstream_looks() -> None:
    assert key_header("k", ()) == ("authorization", "Bearer k")
    assert key_header("k", ("api_key_header",)) == ("api-key", "k")
