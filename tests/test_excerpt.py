from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liveweights.excerpt import shorten


@given(st.text(max_size=300), st.integers(8, 200))
def test_what_is_cut_keeps_its_ends(text: str, most: int) -> None:
    short = shorten(text, most)
    assert len(short) <= most + 40
    assert short[: most // 2] == text[: most // 2]
    assert short[len(short) - most // 4 :] == text[len(text) - most // 4 :] or len(text) <= most
    if len(text) <= most:
        assert short == text
    else:
        assert f"{len(text) - most * 3 // 4 - most // 4} characters are cut" in short
