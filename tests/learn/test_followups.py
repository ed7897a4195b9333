from __future__ import annotations

import pytest

from liveweights.learn.followups import lexical, load_classifier


@pytest.mark.parametrize(
    ("text", "mood"),
    [
        ("No, that's not what I asked for.", "dissatisfied"),
        ("that doesn't work, I get the same error", "dissatisfied"),
        ("wrong. the capital is Canberra", "dissatisfied"),
        ("You forgot the second argument", "dissatisfied"),
        ("I said in French", "dissatisfied"),
        ("It's still broken", "dissatisfied"),
        ("too long, summarise it", "dissatisfied"),
        ("Try again", "dissatisfied"),
        ("thanks!", "satisfied"),
        ("Perfect, that works", "satisfied"),
        ("great, but the second half is missing", "neutral"),
        ("What is the time complexity of that?", "neutral"),
        ("Now write a test for it", "neutral"),
        ("How do I install nothing but the core?", "neutral"),
        ("", "neutral"),
    ],
)
def test_moods(text: str, mood: str) -> None:
    assert lexical(text) == mood


def test_another_classifier_can_be_named() -> None:
    assert load_classifier("liveweights.learn.followups:lexical") is lexical
    with pytest.raises(ValueError, match="no classifier 'nowhere:at_all'"):
        load_classifier("nowhere:at_all")
