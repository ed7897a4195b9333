from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from liveweights.console.conversation import find_new, find_parting, take_turns
from liveweights.console.whole import Whole


def whole(prompt: str | None, output: str = "", number: int = 0) -> Whole:
    return Whole(
        id=f"g{number}",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        checkpoint="m@1",
        endpoint="chat",
        tenant="t",
        user=None,
        session="s",
        prompt=prompt,
        output=output,
        reasoning="",
        finish_reason="stop",
        output_tokens=1,
        first_token_ms=1.0,
        total_ms=1.0,
        feedback=(),
    )


@given(st.text(), st.text(), st.text())
def test_what_goes_on_has_only_what_is_new(prompt: str, output: str, more: str) -> None:
    assert find_new(whole(prompt, output), prompt + output + more) == more


@given(st.text(), st.text())
def test_what_is_new_is_the_end_of_the_prompt(before: str, prompt: str) -> None:
    new = find_new(whole(before), prompt)
    assert prompt.endswith(new)
    if not prompt.startswith(before):
        assert new == "" or prompt[: len(prompt) - len(new)] in ("", *_lines(prompt))


def _lines(text: str) -> list[str]:
    return [text[: place + 1] for place, char in enumerate(text) if char == "\n"]


def test_a_history_that_was_cut_is_told_from_where_it_parts() -> None:
    before = whole("system: be kind\nuser: one\nuser: two\n", "three")
    assert find_new(before, "system: be kind\nuser: two\n") == "user: two\n"
    assert find_new(None, "all of it") == "all of it"
    assert find_new(whole(None), "all of it") == "all of it"


def test_the_turn_before_the_page_is_only_compared_with() -> None:
    answers = [whole("a", "b", 0), whole("abc", "d", 1), whole(None, "e", 2)]
    turns = take_turns(answers, 2)
    assert [(one.id, one.asked) for one in turns] == [("g1", "c"), ("g2", None)]
    assert len(take_turns(answers, 3)) == 3


@given(st.text("ab", max_size=12), st.text("ab", max_size=12))
def test_texts_part_where_their_first_characters_differ(one: str, other: str) -> None:
    end = find_parting(one, other)
    assert one[:end] == other[:end]
    assert end == min(len(one), len(other)) or one[end] != other[end]
