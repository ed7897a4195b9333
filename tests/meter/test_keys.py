from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.meter.stored import NOW, stored

from liveweights.meter.key_rows import SealedKey
from liveweights.meter.keys import NOBODY, Client, EndedKey, Keys, digest_of
from liveweights.meter.rights import Rights
from liveweights.meter.secret import make_key

KEY = "right-0123456789"


def test_a_key_is_its_tenants() -> None:
    keys = Keys({KEY: "acme"})
    assert keys.find(KEY) == Client("acme", digest_of(KEY))
    assert keys.find(KEY + "0") is keys.find("") is None
    assert KEY not in repr(vars(keys))


def test_without_keys_everybody_is_nobody() -> None:
    assert not Keys({})
    assert Keys({}).find("anything") == Keys({}).find("") == Client(NOBODY)


def test_an_empty_key_opens_nothing() -> None:
    assert Keys({"": "acme"}).find("") is None


def holding(*rows: SealedKey, required: bool = True) -> Keys:
    keys = Keys({}, required=required, clock=lambda: NOW)
    keys.replace(rows)
    return keys


def test_a_stored_key_is_its_tenants_with_its_rights() -> None:
    key, other = make_key("abcdefgh"), make_key("abcdefgh")
    keys = holding(stored(key, "abcdefgh"))
    assert keys.find(key) == Client("acme", "abcdefgh", rights=Rights(models=("code",)))
    assert keys.find(other) is keys.find("") is keys.find(make_key("bbbbbbbb")) is None
    assert key not in repr(vars(keys))


def test_keys_of_the_settings_file_and_stored_ones_stand_side_by_side() -> None:
    key, looks_stored = make_key("abcdefgh"), make_key("cccccccc")
    keys = Keys({KEY: "file", looks_stored: "file"}, clock=lambda: NOW)
    keys.replace([stored(key, "abcdefgh")])
    assert keys.find(KEY) == Client("file", digest_of(KEY))
    assert keys.find(looks_stored) == Client("file", digest_of(looks_stored))
    assert keys.find(key) is not None


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"revoked_at": NOW}, "revoked on 2026-03-01"),
        ({"expires_at": NOW}, "expired on 2026-03-01 12:00"),
    ],
)
def test_a_key_that_has_ended_says_so_to_whoever_has_it_and_to_nobody_else(
    said: dict[str, Any], reason: str
) -> None:
    key = make_key("abcdefgh")
    keys = holding(stored(key, "abcdefgh", **said))
    with pytest.raises(EndedKey, match=reason):
        keys.find(key)
    assert keys.find(make_key("abcdefgh")) is None


def test_a_rotated_key_is_taken_as_it_was_until_its_time_is_over() -> None:
    old, new = make_key("abcdefgh"), make_key("abcdefgh")
    for minutes, taken in ((1, True), (0, False), (-1, False)):
        until = NOW + timedelta(minutes=minutes)
        keys = holding(stored(new, "abcdefgh", old, previous_until=until))
        assert keys.find(new) is not None
        assert (keys.find(old) is not None) is taken


def test_where_no_key_is_asked_for_a_stored_one_is_still_looked_at() -> None:
    key = make_key("abcdefgh")
    keys = holding(stored(key, "abcdefgh"), required=False)
    assert not keys
    assert keys.find("") == keys.find("whatever") == Client(NOBODY)
    assert keys.find(key) == Client("acme", "abcdefgh", rights=Rights(models=("code",)))
    assert keys.find(make_key("abcdefgh")) is None


def test_what_has_become_of_a_key_is_known() -> None:
    key = make_key("abcdefgh")
    keys = holding(stored(key, "abcdefgh"))
    keys.update(["abcdefgh"], [stored(key, "abcdefgh", revoked_at=NOW)])
    with pytest.raises(EndedKey):
        keys.find(key)
    keys.update(["abcdefgh"], [])
    assert keys.find(key) is None
