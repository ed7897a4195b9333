"""What a browser is told about the pages."""

from __future__ import annotations

from urllib.parse import quote

RESERVED = "%/:?#[]@!$&'()*+,;="
"""Characters that say something in a URL, or are part of what is encoded already (RFC 3986)."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
GUARDED = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
"""No page of another site shows these in a frame, and nothing runs in them or is fetched by them
that does not come from here: what users wrote could not, even were it not escaped."""
NOT_KEPT = (b"cache-control", b"no-store")
HEADERS = (*GUARDED, NOT_KEPT)
HTML = b"text/html; charset=utf-8"


def locate(place: str) -> tuple[bytes, bytes]:
    """The header that sends a browser to ``place``, a URL or a path. What is no ASCII is encoded
    and never left out: without the é, /é/host would be another host."""
    return b"location", quote(place, safe=RESERVED).encode()
