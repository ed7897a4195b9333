from __future__ import annotations

from pathlib import Path

import pytest

from liveweights.learn.followups import lexical, load_classifier, read_mood


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
        ("thanks, but it doesn't work", "dissatisfied"),
        ("I tried it and it does not compile", "dissatisfied"),
        ("Hmm, your code doesn't run.", "dissatisfied"),
        ("I think that is wrong", "dissatisfied"),
        ("this is not what I asked for", "dissatisfied"),
        ("I'm getting the same error", "dissatisfied"),
        ("Same error.", "dissatisfied"),
        ("Why? It's way too complicated.", "dissatisfied"),
        ("Doesn't work.", "dissatisfied"),
        ("Please try again", "dissatisfied"),
        ("You made that up", "dissatisfied"),
        ("No problem, thanks!", "satisfied"),
        ("Actually, this is great.", "neutral"),
        ("No further questions, thank you.", "neutral"),
        ("No thanks, that will do", "neutral"),
        ("My second script does not compile, why?", "neutral"),
        ("How do I handle the same error in Go?", "neutral"),
        ("what happens if the join does not match any row?", "neutral"),
        ("Write a rule that says staff should not answer private calls", "neutral"),
        ("Now a version that is not recursive", "neutral"),
        ("How do you keep state between calls?", "neutral"),
        ("Write a detector for hallucinated citations", "neutral"),
        ("Add code to try again after a time-out", "neutral"),
        ("False positives should be counted as well", "neutral"),
        ("Once more for rows that do not match", "neutral"),
        ("Now the function should not match digits", "neutral"),
        ("It's not urgent, add docs", "neutral"),
        ("The queue may get too long, so limit it to 100", "neutral"),
        ("", "neutral"),
    ],
)
def test_moods(text: str, mood: str) -> None:
    assert lexical(text) == mood


def test_another_classifier_can_be_named() -> None:
    assert load_classifier("liveweights.learn.followups:lexical") is lexical
    with pytest.raises(ValueError, match="no classifier 'nowhere:at_all'"):
        load_classifier("nowhere:at_all")


FAULTY = """
def raises(text):
    return {}[text]

def mumbles(text):
    return "fine, I suppose"

def counts(text):
    return 3
"""


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("raises", "raised KeyError"),
        ("mumbles", "returned 'fine, I suppose'"),
        ("counts", "returned 3"),
    ],
)
def test_what_a_classifier_gets_wrong_is_neutral_and_told_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    function: str,
    told: str,
) -> None:
    (tmp_path / f"faulty_{function}.py").write_text(FAULTY)
    monkeypatch.syspath_prepend(tmp_path)
    name = f"faulty_{function}:{function}"
    assert [read_mood(name, text) for text in ("no", "thanks")] == ["neutral", "neutral"]
    (warning,) = caplog.records
    assert repr(name) in warning.getMessage()
    assert told in warning.getMessage()


def test_a_classifier_whose_module_fails_is_told_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_moods.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="'broken_moods:classify': ZeroDivisionError"):
        read_mood("broken_moods:classify", "no")
