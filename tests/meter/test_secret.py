from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.meter.secret import Stored, hash_key, id_of, make_id, make_key, seal, visible


def test_a_key_names_its_id_and_hides_the_rest() -> None:
    id = make_id()
    key = make_key(id)
    assert id_of(key) == id
    assert key.startswith(visible(id) + "-")
    assert len({make_key(id) for _ in range(100)}) == 100
    assert len({make_id() for _ in range(100)}) == 100


def test_only_the_key_itself_fits_what_is_stored_of_it() -> None:
    key, other = make_key("abcdefgh"), make_key("abcdefgh")
    stored = seal(key)
    assert stored.fits(key)
    assert not stored.fits(other)
    assert not stored.fits("")
    assert key.encode() not in stored.hash + stored.salt
    assert (len(stored.salt), len(stored.hash)) == (16, 32)
    # Of one key never the same: what is stored of two says not whether they are equal.
    assert seal(key).hash != stored.hash


def test_the_hash_is_blake2b_with_a_salt() -> None:
    """Were it made otherwise, no key that is stored would open anything."""
    key, salt = "lw-abcdefgh-" + "A" * 43, bytes(range(16))
    expected = hashlib.blake2b(
        key.encode(), digest_size=32, salt=salt, person=b"liveweights-keys"
    ).digest()
    assert hash_key(key, salt) == expected
    assert Stored(salt, expected).fits(key)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "lw-",
        "lw-abcdefgh",
        "lw-abcdefgh-short",
        "lw-ABCDEFGH-" + "A" * 43,
        "lw-abcdefg1-" + "A" * 43,
        "lw-abcdefgh-" + "A" * 42 + "+",
        "lw-abcdefgh-" + "A" * 43 + "\n",
        " lw-abcdefgh-" + "A" * 43,
    ],
)
def test_any_other_form_names_no_id(given: str) -> None:
    assert id_of(given) is None


@given(st.text(max_size=80))
def test_whatever_is_given_is_told_apart(given: str) -> None:
    assert not seal(make_key("abcdefgh")).fits(given)
    assert id_of(given) is None
