"""Reading in few goes: the same transcript, and no later an end."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.serve.gateway.events import EventStream
from liveweights.serve.gateway.reader import HELD, Reader
from liveweights.serve.gateway.transcript import Transcript


def event(body: Any) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


CHAT = [event({"model": "m", "choices": [{"delta": {"content": word}}]}) for word in "abcdef"]
CHAT += [event({"choices": [], "usage": {"completion_tokens": 6}}), b"data: [DONE]\n\n"]
DELTA = event({"type": "response.output_text.delta", "delta": 'a "response" with "output"'})
WHOLE = {"status": "completed", "model": "m", "output": []}
RESPONSE = [DELTA, DELTA, event({"type": "response.completed", "response": WHOLE}), DELTA]


@pytest.mark.parametrize("parts", [CHAT, [*CHAT, CHAT[0]], RESPONSE, [DELTA, event(WHOLE)]])
@given(cuts=st.lists(st.integers(0, 2000), max_size=12), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_as_if_each_event_were_read_as_it_comes(
    parts: list[bytes], cuts: list[int], end: str
) -> None:
    text = b"".join(parts).replace(b"\n", end.encode())
    places = sorted({0, len(text), *(cut % len(text) for cut in cuts)})
    events, meant, transcript = EventStream(), Transcript(), Transcript()
    reader = Reader(transcript)
    for start, stop in pairwise(places):
        for data in events.feed(text[start:stop]):
            meant.add_event(data)
        reader.feed(text[start:stop])
        assert transcript.done == meant.done
    reader.flush()
    for name in Transcript.__slots__:
        assert getattr(transcript, name) == getattr(meant, name)


def test_what_waits_is_bounded() -> None:
    transcript = Transcript()
    reader = Reader(transcript)
    for _ in range(HELD // len(CHAT[0])):
        reader.feed(CHAT[0])
        assert not transcript.choices
    reader.feed(CHAT[0])
    assert len(transcript.choices[0].parts) == HELD // len(CHAT[0]) + 1


def test_what_cannot_be_read_is_found_at_the_latest_at_the_end() -> None:
    reader = Reader(Transcript())
    reader.feed(b"data: {broken}\n\n")
    with pytest.raises(ValueError, match="malformed"):
        reader.flush()
