"""What fits the record's columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.record.rows import make_generation

from liveweights.record.binary import encode as encode_row
from liveweights.record.clean import clean_generation, clip_name, clip_person
from liveweights.record.generation import Generation
from liveweights.record.tally import tally
from liveweights.serve.api.caller import Caller
from liveweights.serve.gateway.fit import fit
from liveweights.serve.gateway.passage import Passage
from liveweights.serve.gateway.question import CHATS, read_question

from . import hostile

CALLER = Caller(tenant="t", user=None, session=None, surface="", language="", consent=True)


def check(rows: list[Generation]) -> None:
    """The record takes them as they are."""
    encoded = [encode_row(clean_generation(row)) for row in rows]
    if encoded:
        counted = tally(encoded, [0] * len(encoded))
        assert all(0 <= value < 2**40 for line in counted.counts for value in line)


def test_what_fits_is_left_alone() -> None:
    row = make_generation("g", usage={"prompt_tokens": 5})
    fitted, unfit = fit(row)
    assert fitted is row
    assert unfit == []


@pytest.mark.parametrize(
    ("changes", "meant"),
    [
        ({"seed": 2 * 10**19}, {"seed": None}),
        ({"seed": -(2**63) - 1}, {"seed": None}),
        ({"max_tokens": 10**12}, {"max_tokens": 2**31 - 1}),
        ({"max_tokens": -5}, {"max_tokens": 0}),
        ({"temperature": 1e39}, {"temperature": 1.0}),
        ({"prompt_ids": [1, 2**31]}, {"prompt_ids": []}),
        (
            {"output_ids": [1, -(2**31) - 1]},
            {"output_ids": [], "logprobs": [], "raw_logprobs": []},
        ),
        ({"logprobs": [-1e300, 0.0]}, {"logprobs": []}),
        ({"raw_logprobs": [0.0]}, {"raw_logprobs": []}),
        ({"usage": {"prompt_tokens": -3, "completion_tokens": 10**30}},
         {"usage": {"prompt_tokens": 0, "completion_tokens": 2**31 - 1}}),
        ({"checkpoint": "x" * 9000}, {"checkpoint": clip_name("x" * 9000)}),
        ({"user": "u" * 9000}, {"user": clip_person("u" * 9000)}),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_clipped_or_left_out(
    changes: dict[str, Any], meant: dict[str, Any]
) -> None:
    row = make_generation("g", **changes)
    fitted, unfit = fit(row)
    assert fitted == replace(row, **meant)
    assert sorted(unfit) == sorted(meant)
    check([fitted])


@given(
    hostile.questions,
    st.lists(hostile.answers, min_size=1, max_size=3),
    st.booleans(),
)
def test_whatever_an_upstream_says_the_record_takes(
    question: dict[str, Any], said: list[dict[str, Any]], streamed: bool
) -> None:
    asked = read_question(hostile.encode(question), CHATS)
    passage = Passage(asked, "chat", CALLER, "responses")
    if streamed:
        for answer in said:
            passage.add_chunk(b"data: " + hostile.encode(answer) + b"\n\n")
        passage.add_chunk(b"")
    else:
        passage.add_whole(hostile.encode(said[0]))
    check(passage.finish())
    assert all(isinstance(id, str) for _, id in passage.made)


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_nor_does_it_matter_whether_it_is_json(parts: list[bytes]) -> None:
    asked = read_question(b'{"model": "m"}', CHATS)
    passage = Passage(asked, "chat", CALLER)
    for part in parts:
        passage.add_chunk(part)
    check(passage.finish())
    whole = Passage(asked, "chat", CALLER)
    whole.add_whole(b"".join(parts))
    check(whole.finish())
