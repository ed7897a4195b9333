from __future__ import annotations

from typing import Any

import pytest
from tests.serve.api.doubles import make_tokenizer
from tests.serve.api.test_family_templates import FOLDER as TEMPLATES

from liveweights.catalog.template import TemplateRefusal, rendering
from liveweights.learn.dialogue import Dialogue, hindsight_prompt, read_dialogue, read_opening
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import load_tokenizer


class ByteTokenizer:
    """Text is its bytes."""

    def __call__(self, text: str, *, add_special_tokens: bool) -> Any:
        return type("Encoded", (), {"input_ids": list(text.encode())})()


def in_tags(turns: Any, tools: Any = None, variables: Any = None, /) -> str:
    """Messages stand between tags, as in a ChatML template."""
    return "".join(f"<{t['role']}>{t['content']}</>\n" for t in turns) + "<assistant>"


def ids(text: str) -> list[int]:
    return list(text.encode())


def text(values: list[int]) -> str:
    return bytes(values).decode()


@pytest.fixture
def dialogue() -> Dialogue:
    found = read_dialogue(ByteTokenizer(), in_tags)
    assert found is not None
    return found


FIRST = "<user>Capital of Australia?</>\n<assistant>"
SECOND = FIRST + "Sydney.</>\n<user>No, Canberra.</>\n<assistant>"


def test_the_next_message_is_found(dialogue: Dialogue) -> None:
    assert dialogue.follow_up(ids(FIRST), ids(SECOND), text) == "No, Canberra."


def test_other_conversations_and_longer_gaps_are_not_follow_ups(dialogue: Dialogue) -> None:
    third = SECOND + "Sorry.</>\n<user>ok</>\n<assistant>"
    assert dialogue.follow_up(ids(FIRST), ids(third), text) is None
    assert dialogue.follow_up(ids(SECOND), ids(third), text) == "ok"
    assert dialogue.follow_up(ids("<user>Other?</>\n<assistant>"), ids(SECOND), text) is None


def test_the_blank_that_answers_begin_with_is_the_templates() -> None:
    def llama2(turns: Any, tools: Any = None, variables: Any = None, /) -> str:
        return "".join(
            f" {t['content']} </s>"
            if t["role"] == "assistant"
            else f"<s>[INST] {t['content']} [/INST]"
            for t in turns
        )

    spaced, plain = (read_dialogue(ByteTokenizer(), render) for render in (llama2, in_tags))
    assert spaced is not None
    assert plain is not None
    assert (spaced.lead, plain.lead) == (" ", "")


def test_hindsight_stands_at_the_end_of_the_users_message(dialogue: Dialogue) -> None:
    told = text(hindsight_prompt(ids(FIRST), "No, Canberra.", dialogue, ids))
    assert told.startswith("<user>Capital of Australia?\n\n(")
    assert "No, Canberra." in told
    assert told.endswith("</>\n<assistant>")


MANNERS: list[dict[str, Any]] = [{}, {"enable_thinking": False}, {"enable_thinking": True}]


@pytest.mark.parametrize("family", sorted(file.stem for file in TEMPLATES.glob("*.jinja")))
def test_every_familys_chats_are_read_whether_they_think_or_not(family: str) -> None:
    tokenizer = make_tokenizer(template=(TEMPLATES / f"{family}.jinja").read_text())
    said = ["Capital of Australia?", "Sydney.", "No, Canberra.", "Sorry.", "ok"]
    roles = ["user", "assistant"] * 3
    turns = [{"role": role, "content": text} for role, text in zip(roles, said, strict=False)]
    with rendering(tokenizer) as render:
        dialogue = read_dialogue(ByteTokenizer(), render)
        assert dialogue is not None
        for manner in MANNERS:
            first, second, third = [ids(render(turns[:n], None, manner)) for n in (1, 3, 5)]
            assert dialogue.follow_up(first, second, text) == "No, Canberra."
            assert dialogue.follow_up(second, third, text) == "ok"
            assert dialogue.follow_up(first, third, text) is None
            other = [{"role": "user", "content": "Capital of Tasmania??"}]
            assert dialogue.follow_up(ids(render(other, None, manner)), second, text) is None
            told = text(hindsight_prompt(first, "No, Canberra.", dialogue, ids))
            note = told.removeprefix(text(first).partition("Australia?")[0] + "Australia?")
            assert note.startswith("\n\n(")
            assert text(first).endswith(note.partition(")")[2])


def test_thinking_may_be_switched_within_a_chat() -> None:
    tokenizer = make_tokenizer(template=(TEMPLATES / "qwen3.jinja").read_text())
    turns = [{"role": "user", "content": "Hi."}]
    longer = [*turns, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "No"}]
    with rendering(tokenizer) as render:
        dialogue = read_dialogue(ByteTokenizer(), render)
        assert dialogue is not None
        for before, after in ((MANNERS[0], MANNERS[1]), (MANNERS[1], MANNERS[0])):
            first, second = render(turns, None, before), render(longer, None, after)
            assert dialogue.follow_up(ids(first), ids(second), text) == "No"


def test_hindsight_of_a_completion_stands_in_front() -> None:
    told = text(hindsight_prompt(ids("x = "), "use a list", None, ids))
    assert told.endswith("\n\nx = ")
    assert "use a list" in told


BEGIN, SEPARATE = 256, 257


class OpeningTokenizer:
    """Text is its bytes, between a token that begins it and one that ends it."""

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> Any:
        ids = list(text.encode())
        ids = [BEGIN, *ids, SEPARATE] if add_special_tokens else ids
        return type("Encoded", (), {"input_ids": ids})()


def test_hindsight_stands_behind_what_begins_a_text() -> None:
    opening = read_opening(OpeningTokenizer())
    assert opening == (BEGIN,)
    told = hindsight_prompt([BEGIN, *ids("x = ")], "use a list", None, ids, opening=opening)
    assert told[0] == BEGIN
    assert told.count(BEGIN) == 1
    assert text(told[1:]) == text(hindsight_prompt(ids("x = "), "use a list", None, ids))
    # A prompt that was recorded without it stays so.
    without = hindsight_prompt(ids("x = "), "use a list", None, ids, opening=opening)
    assert text(without) == text(told[1:])


def test_a_template_that_makes_nothing_of_it_has_no_dialogue() -> None:
    def refuse(turns: Any, tools: Any = None, variables: Any = None, /) -> str:
        raise TemplateRefusal("fails at these messages: it computes for more than 2 s")

    assert read_dialogue(ByteTokenizer(), refuse) is None


@pytest.mark.model
def test_the_packaged_models_template_is_understood(base: Checkpoint) -> None:
    tokenizer: Any = load_tokenizer(base)
    with rendering(tokenizer) as render:
        dialogue = read_dialogue(tokenizer, render)
    assert dialogue is not None
    turns = [{"role": "user", "content": "Capital of Australia?"}]
    first = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    turns += [
        {"role": "assistant", "content": "Sydney."},
        {"role": "user", "content": "No, that's wrong."},
    ]
    second = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    found = dialogue.follow_up(first, second, tokenizer.decode)
    assert found == "No, that's wrong."
