"""Which headers pass the gateway, in either direction."""

from __future__ import annotations

from collections.abc import Iterable

RawHeader = tuple[bytes, bytes]

# RFC 9110, section 7.6.1: they speak of one connection, not of the message.
CONNECTION = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer"),
        *(b"transfer-encoding", b"upgrade", b"proxy-authenticate", b"proxy-authorization"),
    }
)
# What the client library writes itself, and what a caller says to the gateway only.
OWN = frozenset((b"host", b"content-length", b"expect", b"x-training-consent"))
# They would make another request of it than the one that was looked at.
OVERRIDES = frozenset(
    {
        *(b"x-http-method-override", b"x-http-method", b"x-method-override"),
        *(b"x-original-url", b"x-rewrite-url"),
    }
)
# Which sites' pages may read an answer is for this server to say.
_CORS = b"access-control-"
# They choose among what a key opens.
ACCOUNTS = frozenset((b"openai-organization", b"openai-project"))


def to_upstream(headers: Iterable[RawHeader], key: str, *, plain: bool) -> list[tuple[str, str]]:
    """The request's headers. ``key`` replaces the caller's, and what chooses among its accounts;
    ``plain`` asks for an answer that is not compressed."""
    dropped = CONNECTION | OWN | OVERRIDES | _named(headers)
    if key:
        dropped |= {b"authorization", *ACCOUNTS}
    if plain:
        dropped |= {b"accept-encoding"}
    passed = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in headers
        if name not in dropped
    ]
    if key:
        passed.append(("authorization", f"Bearer {key}"))
    if plain:
        passed.append(("accept-encoding", "identity"))
    return passed


def from_upstream(headers: Iterable[RawHeader]) -> list[RawHeader]:
    """The answer's headers, names in lower case, without what lets pages of other sites read it. A
    length is kept: the body is passed as it is."""
    lower = [(name.lower(), value) for name, value in headers]
    dropped = CONNECTION | _named(lower)
    return [
        (name, value) for name, value in lower if name not in dropped and not name.startswith(_CORS)
    ]


def _named(headers: Iterable[RawHeader]) -> frozenset[bytes]:
    """Headers that ``Connection`` declares to be about the connection, too."""
    values = [value for name, value in headers if name == b"connection"]
    return frozenset(part.strip().lower() for value in values for part in value.split(b","))
