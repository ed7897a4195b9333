"""Which headers pass."""

from __future__ import annotations

from liveweights.serve.gateway.headers import from_upstream, to_upstream


def test_headers_of_the_connection_stay_behind() -> None:
    sent = [
        *((b"host", b"a"), (b"connection", b"close, x-hop"), (b"x-hop", b"1"), (b"te", b"t")),
        *((b"authorization", b"Bearer mine"), (b"accept-encoding", b"br"), (b"x-b", b"2")),
    ]
    assert to_upstream(sent, "", plain=False) == [
        ("authorization", "Bearer mine"),
        ("accept-encoding", "br"),
        ("x-b", "2"),
    ]
    assert to_upstream(sent, "up", plain=True) == [
        ("x-b", "2"),
        ("authorization", "Bearer up"),
        ("accept-encoding", "identity"),
    ]


def test_answers_keep_their_length() -> None:
    came = [
        *((b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked"), (b"X-A", b"1")),
        *((b"Connection", b"X-Hop"), (b"X-Hop", b"2")),
    ]
    assert from_upstream(came) == [(b"content-length", b"5"), (b"x-a", b"1")]


def test_an_upstream_does_not_say_which_sites_may_read_an_answer() -> None:
    came = [(b"Access-Control-Allow-Origin", b"*"), (b"access-control-expose-headers", b"x-a")]
    assert from_upstream([*came, (b"X-A", b"1")]) == [(b"x-a", b"1")]
