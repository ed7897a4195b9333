from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.gate.monitors import measure_habits, watch
from liveweights.gate.settings import GateSettings

SETTINGS = GateSettings()
ANSWERS = ["return self.value", "x = compute(y) + 1", "for item in items:", "pass"] * 10


@given(st.lists(st.text(max_size=80), max_size=30))
def test_shares_are_shares_and_a_checkpoint_agrees_with_itself(answers: list[str]) -> None:
    habits = measure_habits(answers)
    assert 0 <= habits.silence <= 1
    assert 0 <= habits.repetition < 1
    # A share of silence that is high already and does not rise is nobody's regression
    # unless it is beyond the bound that holds for every checkpoint.
    broken = watch(answers, answers, SETTINGS).broken
    assert not broken or habits.silence > SETTINGS.max_silence


def test_figures_by_hand() -> None:
    habits = measure_habits(["", "  \n", "a b c d e", "a b c d a b c d"])
    assert habits.silence == 0.5
    assert habits.length == (9 + 15) / 2
    assert habits.repetition == pytest.approx(1 / 7)  # 2 + 5 grams, of which "a b c d" again


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        ([""] * 40, "silent on 100%"),
        ([*[""] * 30, *ANSWERS[:10]], "silence rose from 0% to 75%"),
        (["x " + answer * 5 for answer in ANSWERS], "characters"),
        (["p"] * 40, "characters"),
        (["x = x = x = x = x = x"] * 40, "repeated 4-grams"),
    ],
)
def test_a_hack_is_named_with_its_numbers(candidate: list[str], words: str) -> None:
    monitors = watch(candidate, ANSWERS, SETTINGS)
    assert not monitors.ok
    assert any(words in sentence for sentence in monitors.broken), monitors.broken


def test_similar_answers_are_in_bounds_and_few_are_not_judged() -> None:
    assert watch([*ANSWERS[:35], *[""] * 5], ANSWERS, SETTINGS).ok
    assert watch([""] * 5, ANSWERS[:5], SETTINGS).ok


def test_answers_to_other_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="same prompts"):
        watch(["a"], ["a", "b"], SETTINGS)
