"""Ids of what an upstream runs."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from liveweights.serve.hosted.version import Version, checkpoint_id

URL = "https://api.example.com/v1"
texts = st.text(max_size=40)


@given(texts, texts, texts)
def test_an_id_is_a_plain_name_and_twelve_digits(model: str, said: str, fingerprint: str) -> None:
    id = checkpoint_id(URL, model, Version(said, fingerprint))
    assert re.fullmatch(r"[A-Za-z0-9_.:/+-]*@[0-9a-f]{12}", id)
    assert id == checkpoint_id("https://api.example.com", model, Version(said, fingerprint))


@given(st.lists(st.tuples(texts, texts, texts, texts), min_size=2, max_size=5, unique=True))
def test_whatever_differs_gives_another_id(all: list[tuple[str, str, str, str]]) -> None:
    plain = [one for one in all if "\0" not in "".join(one)]
    ids = {
        checkpoint_id(f"http://{url}", model, Version(said, fingerprint))
        for url, model, said, fingerprint in plain
        if not url.endswith(("/", "/v1"))
    }
    assert len(ids) == len([one for one in plain if not one[0].endswith(("/", "/v1"))])


def test_what_it_reports_names_it() -> None:
    assert checkpoint_id(URL, "big").startswith("big@")
    named = checkpoint_id(URL, "big", Version("big-2026-03-01", "fp_1"))
    assert named.startswith("big-2026-03-01@")
    assert named != checkpoint_id(URL, "big", Version("big-2026-03-01", "fp_2"))
