"""Sessions as signed texts: nothing is stored of them, and nobody else can make one.

The signature is HMAC-SHA256 (RFC 2104). A user's ``version`` is part of it: where the row has
another one, the session has ended. The token of forms (CSRF) is made from the session's own id.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from binascii import Error as Base64Error

import msgspec

SECONDS = 12 * 3600
"""For which a session lasts."""
LONGEST = 4000
"""Characters of a session that is read at all."""
ERRAND_SECONDS = 600
"""For signing in elsewhere."""


class Session(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One user's, from signing in until ``ends`` (seconds since 1970, UTC). An empty ``name`` is
    whoever has the operator's key, whose ``version`` is a digest of it."""

    name: str
    version: str
    id: str
    ends: int


class Errand(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a browser brings back from a place elsewhere, until ``ends``: ``content`` is what was
    given to it to keep."""

    content: bytes
    ends: int


def begin_session(name: str, version: str, now: float) -> Session:
    """A new one, with an id of 128 random bits."""
    ends = int(now) + SECONDS
    return Session(name=name, version=version, id=secrets.token_urlsafe(16), ends=ends)


def seal_session(session: Session, secret: bytes) -> str:
    """The text of a cookie: letters, digits, ``-``, ``_`` and one dot."""
    return _seal(b"session", session, secret)


def open_session(text: str, secret: bytes, now: float) -> Session | None:
    """What ``seal_session`` made with this secret; None for anything else, and once it is over."""
    sealed = _open(b"session", text, secret)
    session = None if sealed is None else msgspec.json.decode(sealed, type=Session)
    return session if session is not None and now < session.ends else None


def seal_errand(content: bytes, secret: bytes, now: float) -> str:
    """The text of a cookie that lasts for ``ERRAND_SECONDS``."""
    return _seal(b"errand", Errand(content=content, ends=int(now) + ERRAND_SECONDS), secret)


def open_errand(text: str, secret: bytes, now: float) -> bytes | None:
    """The content of what ``seal_errand`` made; None for anything else, and once it is over."""
    sealed = _open(b"errand", text, secret)
    errand = None if sealed is None else msgspec.json.decode(sealed, type=Errand)
    return errand.content if errand is not None and now < errand.ends else None


def form_token(of: str, secret: bytes) -> str:
    """What a form must carry that is sent by ``of``, a session's id or another name of who."""
    return _text(_sign(b"form", of.encode(), secret))


def _seal(what: bytes, struct: msgspec.Struct, secret: bytes) -> str:
    payload = msgspec.json.encode(struct)
    return f"{_text(payload)}.{_text(_sign(what, payload, secret))}"


def _open(what: bytes, text: str, secret: bytes) -> bytes | None:
    """The payload that ``_seal`` signed."""
    payload, _, signature = text.partition(".")
    if len(text) > LONGEST or not text.isascii():
        return None
    try:
        sealed, given = _bytes(payload), _bytes(signature)
    except (Base64Error, ValueError):
        return None
    return sealed if hmac.compare_digest(_sign(what, sealed, secret), given) else None


def _sign(what: bytes, payload: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, what + b"\0" + payload, hashlib.sha256)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
