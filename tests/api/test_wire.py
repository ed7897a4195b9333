from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.api.errors import ApiError
from liveweights.api.wire import ClientGone, StoredText, decode, read_body


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
        decode(body, Outer)


def read(messages: list[Any], limit: int, length: str | None = None) -> bytes:
    async def receive() -> Any:
        return messages.pop(0)

    headers = [(b"content-length", length.encode())] if length is not None else []
    return asyncio.run(read_body({"type": "http", "headers": headers}, receive, limit))


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
