from __future__ import annotations

from liveweights.meter.keys import NOBODY, Client, Keys, digest_of

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
