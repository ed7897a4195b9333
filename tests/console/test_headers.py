from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.console.headers import locate


@pytest.mark.parametrize(
    ("place", "sent"),
    [
        ("/é/evil.test/login", b"/%C3%A9/evil.test/login"),
        ("/answers?user=x&before=1~y#feedback", b"/answers?user=x&before=1~y#feedback"),
        ("/invoices/M%C3%BCller/2026-10", b"/invoices/M%C3%BCller/2026-10"),
        ("https://id.test/a?state=x_-.&scope=openid%20email", None),
    ],
)
def test_a_place_stays_what_it_is(place: str, sent: bytes | None) -> None:
    assert locate(place) == (b"location", place.encode() if sent is None else sent)


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="?#%;/\\")))
def test_every_text_is_one_header_and_no_other_host(text: str) -> None:
    _, sent = locate(f"/{text}/evil.test")
    assert all(0x20 < byte < 0x7F for byte in sent)
    parts = urlsplit(sent.decode())
    assert (parts.netloc, unquote(parts.path)) == ("", f"/{text}/evil.test") or not text
