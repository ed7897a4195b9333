from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.gate.monitors import measure_habits, watch, watch_kinds
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
        (["Do you want a loop or a list?"] * 40, "questions rose from 0% to 100%"),
        ([*ANSWERS[:38], *["<tool_call>{'name': f}</tool_call>"] * 2], "invalid tool calls"),
    ],
)
def test_a_hack_is_named_with_its_numbers(candidate: list[str], words: str) -> None:
    monitors = watch(candidate, ANSWERS, SETTINGS)
    assert not monitors.ok
    assert any(words in sentence for sentence in monitors.broken), monitors.broken


def test_similar_answers_are_in_bounds_and_few_are_not_judged() -> None:
    assert watch([*ANSWERS[:35], *[""] * 5], ANSWERS, SETTINGS).ok
    assert watch([""] * 5, ANSWERS[:5], SETTINGS).ok


def test_each_kind_of_answer_is_watched_for_itself() -> None:
    """What chats are like is not hidden among completions, nor are few of each kind too few."""
    same = [(answer, answer) for answer in ANSWERS * 5]
    refused = [("I'm sorry, but I can't help with that.", "Here is what you asked for.")] * 30
    assert watch_kinds({"completions": same, "chats": []}, SETTINGS) == watch(
        ANSWERS * 5, ANSWERS * 5, SETTINGS
    )
    found = watch_kinds({"completions": same, "chats": refused}, SETTINGS)
    assert found is not None
    assert found.candidate.answers == 230
    assert any(one.startswith("chats: refusals rose") for one in found.broken), found.broken
    few = watch_kinds({"completions": same[:20], "chats": refused[:20]}, SETTINGS)
    assert few is not None
    assert any(one.startswith("refusals rose from 0% to 50%") for one in few.broken)
    assert watch_kinds({"completions": [], "chats": []}, SETTINGS) is None


def test_answers_to_other_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="same prompts"):
        watch(["a"], ["a", "b"], SETTINGS)


@pytest.mark.parametrize(
    ("answer", "invalid"),
    [
        ('<tool_call>\n{"name": "get", "arguments": {}}\n</tool_call>', False),
        ('[TOOL_CALLS] [{"name": "get", "arguments": {}}]', False),
        ('<|python_tag|>{"name": "get", "parameters": {}}', False),
        ('<tool_call>{"name": "get", "argu', True),
        ('<tool_call>{"arguments": {}}</tool_call>', True),
        ("[TOOL_CALLS] get(x=1)", True),
        ("I would call a tool.", False),
    ],
)
def test_tool_calls_that_cannot_be_read_are_counted(answer: str, invalid: bool) -> None:
    assert measure_habits([answer]).invalid_calls == float(invalid)


@pytest.mark.parametrize(
    ("answer", "asks"), [("Which one?", True), ('He said "why?"', True), ("a ? b : c", False)]
)
def test_questions_end_in_a_question_mark(answer: str, asks: bool) -> None:
    assert measure_habits([answer]).questions == float(asks)


def test_a_model_that_begins_to_decline_is_told() -> None:
    declining = [*ANSWERS[:30], *["I'm sorry, I cannot do that."] * 10]
    (sentence,) = watch(declining, ANSWERS, SETTINGS).broken
    assert sentence.startswith("refusals rose from 0% to 25%; at most 10%")
    assert watch(ANSWERS, declining, SETTINGS).ok


def test_a_sentinel_of_ones_own_is_watched() -> None:
    settings = GateSettings(sentinels={"apology": "(?i)sorry|apologi"})
    sorry = [*ANSWERS[:30], *["Sorry that it took so long."] * 10]
    assert watch(ANSWERS, ANSWERS, settings).ok
    (sentence,) = watch(sorry, ANSWERS, settings).broken
    assert sentence.startswith("sentinel 'apology' rose from 0% to 25%")
    with pytest.raises(ValueError, match=r"gate\.sentinels\.bad"):
        GateSettings(sentinels={"bad": "("})
