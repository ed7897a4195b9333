"""Whose secrets stay where."""

from __future__ import annotations

from liveweights.serve.hosted.headers import answer_headers, ask_headers, mask


def test_the_caller_stays_unknown_to_the_upstream() -> None:
    said = [
        (b"authorization", b"Bearer mine"),
        (b"cookie", b"a=b"),
        (b"x-api-key", b"mine"),
        (b"openai-organization", b"org"),
        (b"content-type", b"application/json"),
    ]
    for key in ("theirs", ""):
        sent = dict(ask_headers(said, key))
        assert sent.pop("authorization", "") == (f"Bearer {key}" if key else "")
        assert sent == {"content-type": "application/json", "accept-encoding": "identity"}


def test_the_account_stays_unknown_to_the_caller() -> None:
    said = [
        (b"Content-Type", b"application/json"),
        (b"Set-Cookie", b"__cf=1"),
        (b"OpenAI-Organization", b"org"),
        (b"X-RateLimit-Remaining-Tokens", b"7"),
        (b"Access-Control-Allow-Origin", b"*"),
        (b"X-Model", b"other"),
        (b"X-Echo", b"Bearer theirs!"),
    ]
    own = [(b"x-model", b"big")]
    assert answer_headers(said, "theirs", own) == [
        (b"content-type", b"application/json"),
        (b"x-echo", b"Bearer ******!"),
        (b"x-model", b"big"),
    ]
    assert mask(b"theirs", "") == b"theirs"
