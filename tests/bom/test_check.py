from __future__ import annotations

import json

import pytest

from liveweights.bom.check import DEEPEST, BrokenBom, read_document

HEAD = {"bomFormat": "CycloneDX", "specVersion": "1.7"}


def nested(levels: int) -> bytes:
    return json.dumps(HEAD)[:-1].encode() + b', "a": ' + b"[" * levels + b"]" * levels + b"}"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (json.dumps(HEAD).encode("utf-16"), "no JSON"),
        (b"[]", "no object"),
        (b"{}", "its bomFormat is None, not 'CycloneDX'"),
        (json.dumps(HEAD | {"specVersion": "1.5"}).encode(), "its specVersion is '1.5', not '1.7'"),
        (nested(DEEPEST), "nested more than"),
        (nested(100_000), "no JSON"),
    ],
)
def test_what_is_no_bill_is_refused_in_one_sentence(content: bytes, why: str) -> None:
    with pytest.raises(BrokenBom, match=why):
        read_document(content)


def test_what_is_one_is_read() -> None:
    assert read_document(nested(DEEPEST - 1))["a"]
