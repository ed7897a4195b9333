"""Whatever is sent, the answer is a generation or an error object, and nothing is left behind."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from liveweights.serve.api.chat import ChatRequest
from liveweights.serve.api.completions import CompletionRequest
from liveweights.serve.api.feedback import FeedbackRequest

from .doubles import BASE, Answer, Api, make_api

PATHS = ("/v1/completions", "/v1/chat/completions", "/v1/feedback")
API = make_api("hello, wörld")
GENERATION = API.complete().json()["id"]

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 30),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["tiny", "accepted", "thumbs", "up", "\0", "text", "user", GENERATION]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.sampled_from(["role", "content", "type", "text"]), st.text(max_size=5)),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)
NAMES = sorted(
    {
        name
        for request in (CompletionRequest, ChatRequest, FeedbackRequest)
        for name in request.__struct_fields__
    }
    | {"feedback", "unknown"}
)
GOOD: dict[str, dict[str, Any]] = {
    "/v1/completions": {"model": "tiny", "prompt": "say:"},
    "/v1/chat/completions": {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/feedback": {"generation": GENERATION, "signal": "accepted"},
}
many = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(api: Api, answer: Answer) -> None:
    assert 200 <= answer.status < 500
    if answer.status >= 400 and answer.status != 422:
        assert answer.error()["message"]
    elif answer.headers["content-type"].startswith("text/event-stream"):
        assert all("error" not in event for event in answer.events())
    assert api.engine.open == 0
    assert api.router.in_use(BASE) == 0


@many
@given(st.sampled_from(PATHS), st.binary(max_size=300))
@example("/v1/completions", b'{"model": "tiny", "prompt": "\\ud800"}')
@example("/v1/completions", b'{"model": "tiny", "prompt": "\xc3\x28"}')
@example("/v1/completions", b'{"model": ' + b"[" * 100_000)
@example("/v1/feedback", b'{"feedback": ' + b"[" * 100_000 + b"]" * 100_000 + b"}")
@example("/v1/feedback", b'{"feedback": [' + b"[" * 100_000 + b"]" * 100_000 + b"]}")
def test_any_bytes(path: str, body: bytes) -> None:
    check(API, API.call("POST", path, body))


@many
@given(st.sampled_from(PATHS), VALUES)
def test_any_json(path: str, value: Any) -> None:
    check(API, API.call("POST", path, json.dumps(value).encode()))


@many
@given(st.sampled_from(PATHS), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3))
def test_good_requests_with_anything_in_them(path: str, changes: dict[str, Any]) -> None:
    check(API, API.call("POST", path, GOOD[path] | changes))


@many
@given(
    st.dictionaries(
        st.sampled_from(
            ["x_session_id", "x_surface", "x_language", "x_training_consent", "idempotency_key"]
        ),
        st.text(st.characters(max_codepoint=255, blacklist_characters="\0\r\n"), max_size=600),
    ),
    st.sampled_from(PATHS),
)
def test_any_headers(headers: dict[str, str], path: str) -> None:
    check(API, API.call("POST", path, GOOD[path], **headers))


@many
@given(st.text(max_size=200), st.booleans())
def test_any_prompt(prompt: str, stream: bool) -> None:
    answer = API.complete(prompt, stream=stream)
    check(API, answer)
    assert answer.status == (200 if prompt else 400)
