"""Which headers pass between a caller and a hosted model's upstream, in either direction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from liveweights.serve.gateway.headers import ACCOUNTS, RawHeader, from_upstream, to_upstream
from liveweights.serve.hosted.dialect import Quirk, key_header

# What a caller is known by here is nobody else's business.
_CREDENTIALS = frozenset(
    {b"authorization", b"cookie", b"api-key", b"x-api-key", b"x-goog-api-key", *ACCOUNTS}
)
# They speak of the upstream's host, or of our account there; or are said by this server.
_HIDDEN = frozenset(
    {
        *(b"set-cookie", b"server", b"date", b"alt-svc", b"strict-transport-security"),
        *(b"x-generation-id", b"x-model", b"x-checkpoint", *ACCOUNTS),
    }
)
_LIMITS = b"x-ratelimit-"


def ask_headers(
    headers: Iterable[RawHeader], key: str, quirks: Sequence[Quirk] = ()
) -> list[tuple[str, str]]:
    """The request's headers: with ``key``, and without the caller's own."""
    kept = [header for header in headers if header[0] not in _CREDENTIALS]
    passed = to_upstream(kept, "", plain=True)
    return [*passed, key_header(key, quirks)] if key else passed


def answer_headers(
    headers: Iterable[RawHeader], key: str, own: Sequence[RawHeader]
) -> list[RawHeader]:
    """The answer's headers, in which ``key`` does not stand, with our ``own``."""
    passed = [
        (name, mask(value, key))
        for name, value in from_upstream(headers)
        if name not in _HIDDEN and not name.startswith(_LIMITS)
    ]
    return [*passed, *own]


def mask(text: bytes, key: str) -> bytes:
    """The same length without ``key``."""
    return text.replace(key.encode(), b"*" * len(key.encode())) if key else text
