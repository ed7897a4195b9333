"""The secret of an API key: how it is made, and what of it is stored.

A secret has 256 random bits, so nobody finds it by guessing, however fast a guess can be tried:
one salted hash keeps it. Slow hashes (bcrypt, argon2) are for passwords, which people choose and
others guess; here they would only make each request slow.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

PREFIX = "lw-"
ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
ID_LENGTH = 8
SECRET_BYTES = 32
SALT_BYTES = 16
_PERSON = b"liveweights-keys"
_KEY = re.compile(rf"{PREFIX}([a-z2-7]{{{ID_LENGTH}}})-[A-Za-z0-9_-]{{43}}")


@dataclass(frozen=True, slots=True)
class Stored:
    """What is kept of a secret: ``salt`` has 16 bytes, ``hash`` 32."""

    salt: bytes
    hash: bytes

    def fits(self, key: str) -> bool:
        """Whether ``key`` is the one. Takes as long whatever is wrong with it."""
        return hmac.compare_digest(hash_key(key, self.salt), self.hash)


def make_id() -> str:
    """The visible part of a new key: 40 random bits."""
    return "".join(secrets.choice(ID_ALPHABET) for _ in range(ID_LENGTH))


def make_key(id: str) -> str:
    """A key that nobody else has: ``lw-ID-SECRET``."""
    return f"{PREFIX}{id}-{secrets.token_urlsafe(SECRET_BYTES)}"


def visible(id: str) -> str:
    """How a stored key begins: what may be shown of it."""
    return PREFIX + id


def id_of(key: str) -> str | None:
    """The id that a key of this form names; None for any other form."""
    match = _KEY.fullmatch(key)
    return match and match[1]


def hash_key(key: str, salt: bytes) -> bytes:
    """BLAKE2b (RFC 7693) with a salt, 32 bytes."""
    given = key.encode(errors="replace")
    return hashlib.blake2b(given, digest_size=32, salt=salt, person=_PERSON).digest()


def seal(key: str) -> Stored:
    """What to store of ``key``."""
    salt = secrets.token_bytes(SALT_BYTES)
    return Stored(salt, hash_key(key, salt))
