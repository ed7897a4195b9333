from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.effort import python_calls

from liveweights.http import wire
from liveweights.http.errors import ApiError
from liveweights.http.wire import (
    LONGEST_FIELD,
    ClientGone,
    StoredText,
    check_depth,
    check_storable,
    decode,
    is_deep,
    read_body,
    read_form,
    read_json,
    read_query,
)


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    text: StoredText


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    number: int
    inner: list[Inner] = []


def refused(body: bytes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        decode(body, Outer)
    assert caught.value.status == 400
    return caught.value


def test_names_the_place_of_a_wrong_type() -> None:
    error = refused(b'{"number": 1, "inner": [{"text": 2}]}')
    assert error.param == "inner[0].text"
    assert "Expected `str`, got `int`" in error.message


def test_names_every_unknown_parameter() -> None:
    error = refused(b'{"number": 1, "one": 1, "two": [2]}')
    assert error.code == "unknown_parameter"
    assert "'one', 'two'" in error.message
    assert error.param == "one"


def test_names_an_unknown_parameter_inside() -> None:
    error = refused(b'{"number": 1, "inner": [{"text": "", "more": 1}]}')
    assert error.param == "inner[0]"
    assert "more" in error.message


def test_names_what_is_missing() -> None:
    assert refused(b"{}").param == "number"
    assert refused(b'{"number": 1, "inner": [{}]}').param == "inner[0].text"


def test_says_that_a_nul_cannot_be_stored() -> None:
    error = refused(b'{"number": 1, "inner": [{"text": "a\\u0000b"}]}')
    assert "NUL" in error.message
    assert "regex" not in error.message
    multiline = decode(b'{"number": 1, "inner": [{"text": "a\\nb\\n"}]}', Outer)
    assert multiline.inner[0].text == "a\nb\n"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b'{"number": "\xff"}', b'{"number": NaN}', b"\xef\xbb\xbf{}", b"[]", b"1"],
)
def test_refuses_what_is_not_a_json_object(body: bytes) -> None:
    refused(body)


def test_refuses_deep_nesting() -> None:
    deep = b"[" * 200_000 + b"]" * 200_000
    refused(b'{"number": ' + deep + b"}")
    refused(b'{"unknown": ' + deep + b"}")


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_an_api_error(body: bytes) -> None:
    with contextlib.suppress(ApiError):
        assert isinstance(decode(body, Outer), Outer)


def read(messages: list[Any], limit: int, length: str | None = None) -> bytes:
    async def receive() -> Any:
        return messages.pop(0)

    headers = [(b"content-length", length.encode())] if length is not None else []
    return asyncio.run(read_body({"type": "http", "headers": headers}, receive, limit))


def test_half_of_a_surrogate_pair_in_json_is_what_stands_for_it() -> None:
    def sent(body: bytes, kind: bytes = b"application/json") -> bytes:
        async def receive() -> Any:
            return {"type": "http.request", "body": body}

        scope = {"type": "http", "headers": [(b"content-type", kind)]}
        return asyncio.run(read_json(scope, receive, len(body)))

    assert sent(rb'{"a\ud83d": "\ud83d\ude00 \ude00"}') == rb'{"a\ufffd": "\ud83d\ude00 \ufffd"}'
    with pytest.raises(ApiError) as caught:
        sent(b"{}", b"text/plain")
    assert caught.value.status == 415


def test_joins_the_parts_of_a_body() -> None:
    parts = [
        {"type": "http.request", "body": b"ab", "more_body": True},
        {"type": "http.request", "body": b"", "more_body": True},
        {"type": "http.request", "body": b"c"},
    ]
    assert read(parts, 3) == b"abc"


@pytest.mark.parametrize("length", [None, "0", "x", "100"])
def test_refuses_a_body_above_the_limit(length: str | None) -> None:
    parts = [{"type": "http.request", "body": b"abcd", "more_body": True}] * 2
    with pytest.raises(ApiError) as caught:
        read(parts, 7, length)
    assert caught.value.status == 413


def test_says_when_the_client_left() -> None:
    with pytest.raises(ClientGone):
        read([{"type": "http.disconnect"}], 10)


NESTED = st.recursive(
    st.one_of(st.text(st.sampled_from('[]{}"\\,: a'), max_size=8), st.integers()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from('[]{}"\\a'), inner, max_size=4)
    ),
    max_leaves=30,
)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(NESTED, st.integers(1, 6))
def test_depth_is_that_of_brackets_outside_of_texts(value: Any, deepest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "DEEPEST", deepest)
        if depth_of(value) > deepest:
            with pytest.raises(ApiError, match="nested deeper"):
                check_depth(json.dumps(value).encode())
        else:
            check_depth(json.dumps(value).encode())


def test_escapes_before_a_quote_are_told_apart() -> None:
    brackets = "[" * (wire.DEEPEST + 1)
    for backslashes in range(6):
        body = f'["{chr(92) * backslashes}" {brackets}"'.encode()
        assert is_deep(body) == (backslashes % 2 == 0)


@pytest.mark.parametrize(
    ("text", "found"), [(r"\u0000", True), (r"\\u0000", False), (r"\\\u0000", True), ("a", False)]
)
def test_a_nul_is_found_where_it_is_one(text: str, found: bool) -> None:
    body = f'{{"a": [{"0," * 10_000} {{"b": "{text}"}}]}}'.encode()
    if found:
        with pytest.raises(ApiError) as caught:
            check_storable(body)
        assert caught.value.param == "a[10000].b"
    else:
        assert python_calls(lambda: check_storable(body)) < 100


@given(st.binary(max_size=200))
def test_what_is_no_json_is_left_to_the_decoder(body: bytes) -> None:
    check_depth(body)
    check_storable(body)


def test_queries_have_known_parameters_once() -> None:
    def read(query: bytes) -> dict[str, str]:
        return read_query({"query_string": query}, ("a", "b"))

    assert read(b"a=1&b=%C3%A4") == {"a": "1", "b": "ä"}
    assert read(b"a=&b=2") == {"b": "2"}
    for query in (b"c=1", b"a=1&a=2", b"a=%00", b"a=" + b"x" * 3000, b"&".join([b"a=1"] * 40)):
        with pytest.raises(ApiError) as caught:
            read(query)
        assert caught.value.status == 400


def test_lists_of_a_query_are_passed_over() -> None:
    def read(query: bytes) -> dict[str, str]:
        return read_query({"query_string": query}, ("a",), lists=("c",))

    assert read(b"c=1&a=1&c=2&c%5B%5D=3&c[]=4") == {"a": "1"}
    for query in (b"a=1&a=2", b"a[]=1", b"d[]=1", b"c[0]=1"):
        with pytest.raises(ApiError) as caught:
            read(query)
        assert caught.value.status == 400


@pytest.mark.parametrize("sent", ["Störung".encode(), b"St%C3%B6rung"], ids=["as it is", "quoted"])
def test_queries_and_forms_are_utf8_however_they_are_sent(sent: bytes) -> None:
    assert read_query({"query_string": b"a=" + sent}, ("a",)) == {"a": "Störung"}
    assert read_sent(b"text=" + sent) == {"text": "Störung"}


@pytest.mark.parametrize("sent", [b"St\xf6rung", b"St%F6rung"], ids=["as it is", "quoted"])
def test_what_is_no_utf8_is_refused(sent: bytes) -> None:
    with pytest.raises(ApiError, match="The query is not UTF-8"):
        read_query({"query_string": b"a=" + sent}, ("a",))
    with pytest.raises(ApiError, match="The form is not UTF-8"):
        read_sent(b"text=" + sent)


def take_form(text: str, known: tuple[str, ...] = ("text", "csrf")) -> dict[str, str]:
    return read_sent(urlencode({"text": text, "csrf": "x" * 100}).encode(), known)


def read_sent(body: bytes, known: tuple[str, ...] = ("text", "csrf")) -> dict[str, str]:
    scope = {"type": "http", "headers": [(b"content-type", b"application/x-www-form-urlencoded")]}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    return asyncio.run(read_form(scope, receive, known))


@pytest.mark.parametrize("character", ["a", "é", "猫", "😀"])
def test_a_field_is_as_long_in_every_script(character: str) -> None:
    assert take_form(character * LONGEST_FIELD)["text"] == character * LONGEST_FIELD
    with pytest.raises(ApiError, match="longer than 2000"):
        take_form(character * (LONGEST_FIELD + 1))


def test_lines_of_a_field_are_those_of_the_page() -> None:
    assert take_form("a\r\n\r\nb\rc\n")["text"] == "a\n\nb\rc\n"
    assert take_form("a\r\n" * (LONGEST_FIELD // 2))["text"] == "a\n" * (LONGEST_FIELD // 2)
