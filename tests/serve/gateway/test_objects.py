"""Where requests and answers name objects."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.serve.gateway.objects import (
    ITEMS,
    Target,
    find_made,
    find_references,
    find_target,
    may_refer,
)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v1/files", Target("files")),
        ("/v1/files/file-1", Target("files", "file-1")),
        ("/v1/Files/file-1", Target("files", "file-1")),
        ("/v1/files/file-1/content", Target("files", "file-1", "content")),
        ("/v1/fine_tuning/jobs/j/events", Target("fine_tuning/jobs", "j", "events")),
        ("/v1/chat/completions/c", Target("chat/completions", "c")),
        ("/v1/responses/compact", Target("responses", below="compact")),
        ("/v1/responses/input_tokens", Target("responses", below="input_tokens")),
        ("/v1/filesystem", Target()),
        ("/v1/models/files/x", Target()),
    ],
)
def test_targets(path: str, target: Target) -> None:
    assert find_target(path) == target


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"previous_response_id": "resp_1"}, [("responses", "resp_1")]),
        ({"conversation": "conv_1"}, [("conversations", "conv_1")]),
        ({"conversation": {"id": "conv_1"}}, [("conversations", "conv_1")]),
        ({"input_file_id": "file-1"}, [("files", "file-1")]),
        ({"File_ID": "file-1"}, [("files", "file-1")]),
        ({"vector_ſtore_ids": ["vs_1"]}, [("vector_stores", "vs_1")]),
        (
            {"tools": [{"type": "file_search", "vector_store_ids": ["vs_1", "vs_2"]}]},
            [("vector_stores", "vs_1"), ("vector_stores", "vs_2")],
        ),
        (
            {"tools": [{"container": {"type": "auto", "file_ids": ["file-1"]}}]},
            [("files", "file-1")],
        ),
        (
            {"messages": [{"content": [{"type": "file", "file": {"file_id": "file-1"}}]}]},
            [("files", "file-1")],
        ),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, [(ITEMS, "msg_1")]),
        ({"input": [{"id": "msg_1"}]}, [(ITEMS, "msg_1")]),
        ({"input": [{"type": "reasoning", "id": "rs_1", "summary": []}]}, [(ITEMS, "rs_1")]),
        ({"input": [{"type": "reasoning", "id": "rs_1", "encrypted_content": "x"}]}, []),
        ({"input": [{"role": "assistant", "id": "msg_1", "content": "said"}]}, []),
        *(
            ({"input": [{"id": "x_1", **item}]}, [(ITEMS, "x_1")])
            for item in (
                {"type": "image_generation_call"},
                {"type": "image_generation_call", "result": "iVBORw0KGgo="},
                {"type": "web_search_call", "status": "completed", "action": {"type": "search"}},
                {"type": "file_search_call", "queries": ["a"], "results": None},
                {"type": "code_interpreter_call", "code": "1", "outputs": None},
                {"type": "mcp_call", "arguments": "{}", "output": None},
                {"type": "message"},
                {"type": "function_call", "call_id": "call_1"},
                {"type": "reasoning", "encrypted_content": ""},
                {"type": "of some later day", "content": "said", "role": "assistant"},
                {"role": "assistant"},
                {"role": "assistant", "content": None},
            )
        ),
        *(
            ({"input": [{"id": "x_1", **item}]}, [])
            for item in (
                {"type": "message", "role": "user", "content": []},
                {"type": "function_call", "call_id": "call_1", "arguments": ""},
                {"type": "function_call_output", "call_id": "call_1", "output": "yes"},
                {"type": "compaction", "encrypted_content": "x"},
            )
        ),
        (
            {"input": [{"type": "mcp_approval_response", "approval_request_id": "mcpr_1"}]},
            [(ITEMS, "mcpr_1")],
        ),
        ({"messages": [{"role": "assistant", "audio": {"id": "audio_1"}}]}, [(ITEMS, "audio_1")]),
        ({"audio": {"voice": "alloy", "format": "wav"}}, []),
        ({"audio": "UklGRg=="}, []),
        ({"metadata": {"file_id": "mine"}}, []),
        ({"tools": [{"parameters": {"properties": {"file_id": {"type": "string"}}}}]}, []),
        ({"messages": [{"content": '{"file_id": "file-1"}'}]}, []),
        ({"messages": [{"tool_call_id": "call_1"}]}, []),
    ],
)
def test_references(body: Any, named: list[tuple[str, str]]) -> None:
    for text in (json.dumps(body), json.dumps(body, ensure_ascii=False)):
        assert sorted(find_references(text.encode())) == sorted(named)
        assert may_refer(text.encode()) or not named


def test_both_of_two_members_of_one_name_count() -> None:
    body = b'{"previous_response_id": "mine", "previous_response_id": "yours"}'
    assert find_references(body) == [("responses", "mine"), ("responses", "yours")]


def test_an_item_of_two_kinds_is_looked_up_unless_it_is_whole_as_either() -> None:
    head = b'{"input": [{"id": "x_1", "type": "message", "content": "a", '
    assert find_references(head + b'"type": "image_generation_call"}]}') == [(ITEMS, "x_1")]
    assert find_references(head + b'"Content": null}]}') == [(ITEMS, "x_1")]
    assert find_references(head + b'"type": "message"}]}') == []


def test_a_name_that_is_spelt_with_escapes_is_found() -> None:
    body = rb'{"file\u005fid": "file-1"}'
    assert may_refer(body)
    assert find_references(body) == [("files", "file-1")]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b"[" * 100_000, b"{} {}"]
)
def test_what_is_not_json_in_utf_8_says_so(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        find_references(body)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["file_id", "file_ids", "conversation", "container", "input", "id",
                             "type", "role", "metadata", "x"]),
            inner, max_size=4,
        )
    ),
)  # fmt: skip


@given(_values)
def test_no_body_is_too_strange(body: Any) -> None:
    text = json.dumps(body).encode()
    named = find_references(text)
    assert all(isinstance(id, str) for _, id in named)
    assert may_refer(text) or not named


def test_what_was_made() -> None:
    batch = b'{"id": "batch_1", "output_file_id": "file-2", "error_file_id": null}'
    assert find_made(batch, Target("batches")) == [("batches", "batch_1"), ("files", "file-2")]
    assert find_made(batch, Target("batches", "batch_1")) == [("files", "file-2")]
    upload = b'{"id": "upload_1", "file": {"id": "file-3"}}'
    assert find_made(upload, Target("uploads", "upload_1", "complete")) == [("files", "file-3")]
    for strange in (b"", b"[]", b'{"id": 5}', b'{"id": "../x"}', b'{"file": []}', b"[" * 99_999):
        assert find_made(strange, Target("files")) == []
