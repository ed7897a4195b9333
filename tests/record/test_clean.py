from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.record.clean import (
    InvalidRow,
    check_feedback,
    clean_generation,
    clean_text,
)

from .rows import make_feedback, make_generation


@given(st.text(st.characters(codec=None, exclude_categories=[])))
def test_clean_text_is_storable_and_leaves_storable_text_alone(text: str) -> None:
    clean = clean_text(text)
    assert "\0" not in clean
    clean.encode()
    assert clean_text(clean) == clean
    if "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text):
        assert clean == text


def test_generation_text_is_mended_everywhere() -> None:
    g = make_generation("g", output="a\0b", user="\ud800", metadata={"k\0": "v\0"})
    clean = clean_generation(g)
    assert (clean.output, clean.user, clean.metadata) == ("a�b", "�", {"k�": "v�"})
    assert clean.output_ids == g.output_ids


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logprobs": [-0.5]}, "1 logprobs for 2 output tokens"),
        ({"prompt_ids": [2**31]}, "beyond 32 bits"),
        ({"seed": 2**63}, "beyond 64 bits"),
        ({"id": "a\0"}, "cannot be stored"),
        ({"created_at": datetime(2026, 1, 1)}, "no time zone"),
    ],
)
def test_generation_that_cannot_be_mended_is_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidRow, match=message):
        clean_generation(make_generation(**{"id": "g", **changes}))


@pytest.mark.parametrize("field", ["id", "generation", "text", "tenant"])
def test_feedback_is_never_mended(field: str) -> None:
    values = {"id": "f", "generation": "g", field: "a\0b"}
    with pytest.raises(InvalidRow, match=f"{field} has a NUL"):
        check_feedback(make_feedback(**values))
