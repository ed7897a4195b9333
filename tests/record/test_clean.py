from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.record.clean import (
    NAMES,
    InvalidRow,
    check_feedback,
    clean_generation,
    clean_text,
    clip_name,
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
    ("changes", "kept"),
    [
        ({"logprobs": [-0.5]}, {"logprobs": []}),
        ({"prompt_ids": [2**31]}, {"prompt_ids": []}),
        (
            {"output_ids": [-(2**31) - 1, 1]},
            {"output_ids": [], "logprobs": [], "raw_logprobs": []},
        ),
        ({"seed": 2 * 10**19}, {"seed": None}),
        ({"max_tokens": 10**12}, {"max_tokens": 2**31 - 1}),
        ({"max_tokens": -1}, {"max_tokens": 0}),
        (
            {"usage": {"prompt_tokens": 7, "completion_tokens": -1, "a": 2**31, "b": 1.5}},
            {"usage": {"prompt_tokens": 7}},
        ),
    ],
)
def test_numbers_that_do_not_fit_are_left_out(
    changes: dict[str, Any], kept: dict[str, Any]
) -> None:
    g = make_generation("g", **changes)
    assert clean_generation(g) == replace(g, **kept)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": "a\0"}, "cannot be stored"),
        ({"created_at": datetime(2026, 1, 1)}, "no time zone"),
    ],
)
def test_what_is_ours_to_get_right_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRow, match=message):
        clean_generation(make_generation(**{"id": "g", **changes}))


@given(
    st.text(st.characters(codec=None, exclude_categories=[]), max_size=300),
    st.integers(1, 8),
    st.integers(40, 600),
)
def test_a_clipped_name_fits_and_short_ones_are_as_they_were(
    text: str, times: int, most: int
) -> None:
    name = text * times
    clipped = clip_name(name, most)
    assert len(clipped.encode()) <= most
    assert clip_name(clipped, most) == clipped
    if len(clean_text(name).encode()) <= most:
        assert clipped == clean_text(name)
    else:
        assert clip_name(name + "x", most) != clipped  # two names stay two


@given(st.integers(0, 9000), st.sampled_from("aä中\U0001f600"), st.sampled_from(NAMES))
def test_whatever_its_length_a_name_fits_into_an_index(size: int, char: str, name: str) -> None:
    clean = clean_generation(make_generation("g", **{name: char * size}))
    assert len(getattr(clean, name).encode()) <= (2048 if name in ("user", "session") else 512)


def test_metadata_is_bounded() -> None:
    metadata = {f"key {n} " + "x" * 1000: "y" * 10_000 for n in range(1000)}
    clean = clean_generation(make_generation("g", metadata=metadata)).metadata
    assert len(clean) == 64
    assert all(len(key) <= 512 and len(value) <= 2048 for key, value in clean.items())
    assert next(iter(clean)).startswith("key 0 xx")


def test_half_a_prompt_is_none() -> None:
    clean = clean_generation(make_generation("g", prompt="[" * 2**25, output="x" * 2**25))
    assert (clean.prompt, clean.output) == ("", "x" * 2**24)


@pytest.mark.parametrize("stop", ["a\0", "\ud800"])
def test_strings_that_cannot_be_kept_as_they_are_are_not_known(stop: str) -> None:
    g = make_generation("g", shaping={"stop": ["\n", stop]})
    assert clean_generation(g).shaping == {}
    known = make_generation("g", shaping={"stop": ["\n", "größer"]})
    assert clean_generation(known) == known


def test_feedback_is_bounded() -> None:
    check_feedback(make_feedback("\U0001f600" * 512, "g"))
    for changes, message in (
        ({"id": "x" * 2049}, "the id has more than 2048 bytes"),
        ({"text": "x" * (2**24 + 1)}, "the text has more than"),
        ({"value": float("inf")}, "not a finite number"),
    ):
        with pytest.raises(InvalidRow, match=message):
            check_feedback(make_feedback(**{"id": "f", "generation": "g", **changes}))


@pytest.mark.parametrize("field", ["id", "generation", "text", "tenant"])
def test_feedback_is_never_mended(field: str) -> None:
    values = {"id": "f", "generation": "g", field: "a\0b"}
    with pytest.raises(InvalidRow, match=f"{field} has a NUL"):
        check_feedback(make_feedback(**values))
