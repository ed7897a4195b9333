"""Passwords: chosen by people, so kept by a hash that is slow to guess at (argon2id, RFC 9106)."""

from __future__ import annotations

import asyncio
import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST, LONGEST = 12, 256
"""Characters."""
_HASHER = PasswordHasher()


class WeakPassword(ValueError):
    """It cannot be a password; the message says why."""


def check_password(password: str, name: str) -> None:
    """Raises WeakPassword for one that is too short, too long, or the user's own name."""
    if len(password) < SHORTEST:
        raise WeakPassword(f"A password has at least {SHORTEST} characters.")
    if len(password) > LONGEST:
        raise WeakPassword(f"A password has at most {LONGEST} characters.")
    if password.casefold() == name.casefold() or len(set(password)) < 4:
        raise WeakPassword("That password is guessed at once; choose another.")


async def hash_password(password: str) -> str:
    """What to keep of ``password``: a PHC string. It takes 64 MiB and tens of milliseconds of a
    core, in a thread: let few do so at once."""
    return await asyncio.to_thread(_HASHER.hash, password)


async def is_password(password: str, kept: str | None) -> bool:
    """Whether ``kept`` is of ``password``, as dear as ``hash_password``. Takes as long where
    nothing is kept: nobody learns from the time whether there is such a user."""
    fits = await asyncio.to_thread(_fits, password, kept or _nobodys())
    return fits and kept is not None


def _fits(password: str, kept: str) -> bool:
    try:
        return _HASHER.verify(kept, password)
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys() -> str:
    return _HASHER.hash(secrets.token_urlsafe())
