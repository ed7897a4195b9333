from __future__ import annotations

import asyncio

import pytest

from liveweights.access.passwords import (
    LONGEST,
    WeakPassword,
    check_password,
    hash_password,
    is_password,
)


def test_a_hash_is_of_one_password_only() -> None:
    async def go() -> None:
        kept = await hash_password("correct horse 😀")
        assert kept.startswith("$argon2id$")
        assert kept != await hash_password("correct horse 😀")
        assert await is_password("correct horse 😀", kept)
        assert not await is_password("correct horse", kept)
        assert not await is_password("anything", None)
        assert not await is_password("anything", "no hash at all")

    asyncio.run(go())


@pytest.mark.parametrize("password", ["short", "x" * (LONGEST + 1), "a" * 20, "Ada-Lovelace-1815"])
def test_what_is_guessed_is_refused(password: str) -> None:
    with pytest.raises(WeakPassword):
        check_password(password, "ada-lovelace-1815")


def test_others_are_taken() -> None:
    check_password("correct horse", "ada")
