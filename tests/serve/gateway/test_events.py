"""Events out of chunks that are cut anywhere."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.serve.gateway.events import EventStream

EVENTS = [b'{"a": 1}', b"\xe2\x9c\x93 two", b"[DONE]", b"first\nsecond"]


@given(
    cuts=st.lists(st.integers(0, 200), max_size=12),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
)
def test_cuts_do_not_matter(cuts: list[int], end: bytes) -> None:
    text = b": a comment\n\nevent: x\nid: 4\ndata:" + EVENTS[0] + b"\n\n"
    for event in EVENTS[1:]:
        text += b"".join(b"data: " + line + b"\n" for line in event.split(b"\n")) + b"\n"
    text = text.replace(b"\n", end)
    places = sorted({0, len(text), *(cut % len(text) for cut in cuts)})
    stream = EventStream()
    found = [e for a, b in pairwise(places) for e in stream.feed(text[a:b])]
    # A lone CR at the very end may be half of CRLF: the event may need one more byte.
    assert found + stream.feed(b"\n") == EVENTS


def test_a_long_event_in_many_pieces_is_read_in_linear_time() -> None:
    """Copied with every piece, these would be gigabytes."""
    stream = EventStream()
    began = time.process_time()
    found = [event for _ in range(2**14) for event in stream.feed(b"x" * 1000)]
    assert stream.cut
    assert not found
    assert time.process_time() - began < 10
    with pytest.raises(ValueError, match="more than"):
        stream.feed(b"x" * 1_000_000)
