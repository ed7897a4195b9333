"""What an answer that passes is charged, against a bill worked out by hand from what the upstream
meant: whatever its dialect of counting, however many choices, wherever the client left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.meter.charges import assess
from liveweights.meter.price_book import Held
from liveweights.meter.prices import EPOCH, PriceRow
from liveweights.record.binary import encode
from liveweights.serve.api.caller import Caller
from liveweights.serve.gateway.passage import Passage
from liveweights.serve.gateway.question import CHATS, COMPLETIONS, read_question
from liveweights.serve.gateway.transcript import CHOICES

CALLER = Caller(tenant="t", user=None, session=None, surface="", language="", consent=True)
PRICE = PriceRow(
    since=EPOCH,
    input=300_000,
    cached_input=70_000,
    output=1_100_001,
    reasoning=2_300_003,
    request=17,
)
ASKED = "How far is it?"
Said = Literal["among", "beside", "beside, without a total"]
"""Where an upstream counts what was thought: OpenAI, xAI, and who gives no total."""
Told = Literal["at the end", "with every piece", "never"]

words = st.sampled_from(["so", " it", " is ✓", "", " abcdefghij", "\n"])


@dataclass(frozen=True)
class Piece:
    """Of one choice: a word, thought or said."""

    choice: int
    word: str
    thought: bool


@dataclass(frozen=True)
class Upstream:
    """``tokens`` of each piece are what it really sampled."""

    prompt: int
    cached: int
    pieces: tuple[Piece, ...]
    tokens: tuple[int, ...]
    choices: int
    said: Said
    told: Told

    def used(self, seen: int) -> tuple[int, int, int]:
        """Tokens of the answer, and those of them that were thought, after so many pieces."""
        done = list(zip(self.pieces, self.tokens, strict=True))[:seen]
        return sum(n for _, n in done), sum(n for piece, n in done if piece.thought), len(done)

    def usage(self, seen: int) -> dict[str, Any]:
        output, thought, _ = self.used(seen)
        said = output if self.said == "among" else output - thought
        found: dict[str, Any] = {
            "prompt_tokens": self.prompt,
            "completion_tokens": said,
            "prompt_tokens_details": {"cached_tokens": self.cached},
            "completion_tokens_details": {"reasoning_tokens": thought},
        }
        if self.said != "beside, without a total":
            found["total_tokens"] = self.prompt + output
        return found


@st.composite
def upstreams(draw: st.DrawFn) -> Upstream:
    choices, prompt = draw(st.integers(1, 4)), draw(st.integers(1, 10**6))
    piece = st.builds(Piece, st.integers(0, choices - 1), words, st.booleans())
    pieces = draw(st.lists(piece, max_size=12))
    tokens = draw(st.lists(st.integers(1, 9), min_size=len(pieces), max_size=len(pieces)))
    said: Said = draw(st.sampled_from(["among", "beside", "beside, without a total"]))
    if said == "beside, without a total":  # it can be told where more was thought than said
        pieces = [Piece(one.choice, one.word, thought=True) for one in pieces]
    return Upstream(
        prompt,
        draw(st.integers(0, prompt)),
        tuple(pieces),
        tuple(tokens),
        choices,
        said,
        draw(st.sampled_from(["at the end", "with every piece", "never"])),
    )


def events(upstream: Upstream) -> list[bytes]:
    """One for each piece, the ends of all choices, and what the upstream counted."""
    found: list[dict[str, Any]] = []
    for seen, piece in enumerate(upstream.pieces, 1):
        delta = {"reasoning_content" if piece.thought else "content": piece.word}
        chunk: dict[str, Any] = {"choices": [{"index": piece.choice, "delta": delta}]}
        if upstream.told == "with every piece":
            chunk["usage"] = upstream.usage(seen)
        found.append(chunk)
    ends = [{"index": n, "delta": {}, "finish_reason": "stop"} for n in range(upstream.choices)]
    found.append({"choices": ends})
    if upstream.told != "never":
        found.append({"choices": [], "usage": upstream.usage(len(upstream.pieces))})
    written = [b"data: " + json.dumps({"model": "m", **one}).encode() + b"\n\n" for one in found]
    return [*written, b"data: [DONE]\n\n"]


def whole(upstream: Upstream) -> bytes:
    choices: list[dict[str, Any]] = []
    for number in range(upstream.choices):
        mine = [piece for piece in upstream.pieces if piece.choice == number]
        message = {
            "content": "".join(piece.word for piece in mine if not piece.thought),
            "reasoning_content": "".join(piece.word for piece in mine if piece.thought),
        }
        choices.append({"index": number, "message": message, "finish_reason": "stop"})
    usage = None if upstream.told == "never" else upstream.usage(len(upstream.pieces))
    return json.dumps({"model": "m", "choices": choices, "usage": usage}).encode()


def bill(prompt: int, cached: int, output: int, thought: int) -> int:
    """In nanos, to the nearest, halves to the even one."""
    exact = Fraction(3, 10) * (prompt - cached) + Fraction(7, 100) * cached
    exact += Fraction(1_100_001, 10**6) * (output - thought)
    exact += Fraction(2_300_003, 10**6) * thought
    return round(exact + 17)


def estimated(upstream: Upstream, seen: int) -> int:
    """Four bytes are a token, of each choice by itself."""
    texts = [
        "".join(piece.word for piece in upstream.pieces[:seen] if piece.choice == number)
        for number in range(upstream.choices)
    ]
    return sum(-(-len(text.encode()) // 4) for text in texts)


ASKED_TOKENS = -(-len(f"user\n{ASKED}".encode()) // 4)


def ask(upstream: Upstream) -> Passage:
    said = {"model": "m", "n": upstream.choices, "messages": [{"role": "user", "content": ASKED}]}
    question = read_question(json.dumps(said).encode(), CHATS)
    return Passage(question, "chat", CALLER)


def charged(passage: Passage) -> int:
    """By the rows; by what is charged to budgets it is the same."""
    held = Held(PRICE, None)
    rows = [encode(row) for row in passage.finish()]
    amounts = [assess(held, row.counts, withheld=row.withheld).amount for row in rows]
    assert assess(held, passage.counts(), withheld=False).amount == sum(amounts)
    assert sum(row.counts.requests for row in rows) == bool(rows)
    return sum(amounts)


@given(upstreams())
def test_a_whole_answer_is_charged_as_the_upstream_counts(upstream: Upstream) -> None:
    passage = ask(upstream)
    passage.add_whole(whole(upstream))
    output, thought, seen = upstream.used(len(upstream.pieces))
    if upstream.told == "never":
        assert charged(passage) == bill(ASKED_TOKENS, 0, estimated(upstream, seen), 0)
    else:
        assert charged(passage) == bill(upstream.prompt, upstream.cached, output, thought)


@given(upstreams())
def test_a_whole_stream_is_charged_as_the_upstream_counts(upstream: Upstream) -> None:
    passage = ask(upstream)
    for event in events(upstream):
        passage.add_chunk(event)
    passage.add_chunk(b"")
    output, thought, seen = upstream.used(len(upstream.pieces))
    if upstream.told == "never":
        assert charged(passage) == bill(ASKED_TOKENS, 0, estimated(upstream, seen), 0)
    else:
        assert charged(passage) == bill(upstream.prompt, upstream.cached, output, thought)


@given(upstreams(), st.integers(0, 12))
def test_a_stream_that_was_left_is_charged_for_what_was_sent(upstream: Upstream, cut: int) -> None:
    seen = min(cut, len(upstream.pieces))
    passage = ask(upstream)
    for event in events(upstream)[:seen]:
        passage.add_chunk(event)
    output, thought, _ = upstream.used(seen)
    if upstream.told == "with every piece" and seen:
        assert charged(passage) == bill(upstream.prompt, upstream.cached, output, thought)
    elif any(piece.word for piece in upstream.pieces[:seen]):
        assert charged(passage) == bill(ASKED_TOKENS, 0, estimated(upstream, seen), 0)
    else:
        assert charged(passage) == 0
        assert passage.finish() == []


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_a_response_of_which_nothing_is_shown_is_charged(status: str) -> None:
    """All that it may use was thought, and no item tells of it."""
    question = read_question(b'{"model": "m", "input": "Why?", "max_output_tokens": 64}', CHATS)
    usage = {"input_tokens": 7, "output_tokens": 64, "total_tokens": 71}
    usage |= {"output_tokens_details": {"reasoning_tokens": 64}}
    body = {"id": "resp_1", "model": "m", "status": status, "output": [], "usage": usage}
    passage = Passage(question, "chat", CALLER)
    passage.add_whole(json.dumps(body).encode())
    assert charged(passage) == bill(7, 0, 64, 64)


def test_what_was_counted_is_charged_though_nothing_was_said() -> None:
    """Its client left while the model thought, and the upstream counts with every piece."""
    question = read_question(b'{"model": "m", "messages": [], "stream": true}', CHATS)
    usage = {"prompt_tokens": 12, "completion_tokens": 0, "total_tokens": 329}
    usage |= {"completion_tokens_details": {"reasoning_tokens": 317}}
    chunk = {"model": "m", "choices": [{"index": 0, "delta": {"content": ""}}], "usage": usage}
    passage = Passage(question, "chat", CALLER)
    passage.add_chunk(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    (row,) = passage.finish()
    assert (row.output, row.finish_reason) == ("", "cancelled")
    assert charged(passage) == bill(12, 0, 317, 317)


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize("size", [CHOICES, CHOICES + 1, 3 * CHOICES])
def test_all_answers_to_a_list_of_prompts_are_charged(size: int, counted: bool) -> None:
    asked = {"model": "m", "prompt": ["four"] * size}
    question = read_question(json.dumps(asked).encode(), COMPLETIONS)
    choices = [{"index": n, "text": "four", "finish_reason": "stop"} for n in range(size)]
    usage = {"prompt_tokens": 9 * size, "completion_tokens": 7 * size}
    body = {"model": "m", "choices": choices, "usage": usage if counted else None}
    passage = Passage(question, "completion", CALLER)
    passage.add_whole(json.dumps(body).encode())
    prompt = -(-(5 * size - 1) // 4)  # and a line's end between two
    # What goes beyond the choices that are kept is estimated in one.
    assert charged(passage) == (
        bill(9 * size, 0, 7 * size, 0) if counted else bill(prompt, 0, size, 0)
    )
    assert len(passage.finish()) == CHOICES


def stream_of(pieces: int, counted: bool) -> Iterator[bytes]:
    """Each event is much longer than its text, as with log-probabilities of other tokens."""
    for _ in range(pieces):
        choice = {"index": 0, "delta": {"content": "four"}, "x": "x" * 1000}
        yield b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"
    if counted:
        usage = {"prompt_tokens": 12, "completion_tokens": 3 * pieces}
        yield b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"


@pytest.mark.parametrize("counted", [True, False])
def test_a_stream_that_is_too_long_to_be_kept_is_charged(
    counted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("transcript", "passage"):
        monkeypatch.setattr(f"liveweights.serve.gateway.{place}.LONGEST", 100_000)
    question = read_question(b'{"model": "m", "messages": [], "stream": true}', CHATS)
    passage = Passage(question, "chat", CALLER)
    for event in stream_of(500, counted):
        passage.add_chunk(event)
    passage.add_chunk(b"")
    (row,) = passage.finish()
    assert 0 < len(row.output) < 4 * 100
    assert passage.unfit == ["output"]
    used = row.usage["completion_tokens"]
    assert used == 1500 if counted else abs(used - 500) <= 10
    assert charged(passage) > 0


def test_what_was_read_before_an_event_that_cannot_be_is_charged() -> None:
    question = read_question(b'{"model": "m", "messages": [], "stream": true}', CHATS)
    passage = Passage(question, "chat", CALLER)
    for event in stream_of(3, counted=False):
        passage.add_chunk(event if event.startswith(b"data: {") else b"data: nothing\n\n")
    passage.add_chunk(b"")
    (row,) = passage.finish()
    assert (row.output, passage.unreadable) == ("fourfourfour", True)
    assert charged(passage) == bill(0, 0, 3, 0)
