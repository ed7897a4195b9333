"""Answers of another base teach in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serve.api.doubles import make_tokenizer
from tests.serve.api.test_family_templates import FOLDER as TEMPLATES

from liveweights.catalog.template import TemplateRefusal, rendering
from liveweights.learn.words import Frame, in_words, read_frame
from liveweights.record.example import Example
from liveweights.record.generation import Generation

WORDS = st.text("ab c\n", min_size=1, max_size=8)
END = 300


def render(messages: list[dict[str, Any]], tools: Any = None, variables: Any = None, /) -> str:
    """As ChatML has it."""
    told = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
    return told + "<|im_start|>assistant\n"


def without_system(
    messages: list[dict[str, Any]], tools: Any = None, variables: Any = None, /
) -> str:
    if messages[0]["role"] == "system":
        raise TemplateRefusal("knows no system message")
    return render(messages)


def decode(ids: Sequence[int]) -> str:
    return bytes(ids).decode()


def encode(text: str) -> list[int]:
    return list(text.encode())


TOKENIZER = SimpleNamespace(all_special_ids=[END])


def made(prompt_ids: list[int], endpoint: Any = "completion", **changes: Any) -> Example:
    generation = Generation(
        id="g",
        created_at=datetime.now(UTC),
        alias="code",
        checkpoint="old@000000000000",
        endpoint=endpoint,
        prompt_ids=prompt_ids,
        output_ids=[1, 2],
        logprobs=[-0.5, -0.5],
        raw_logprobs=[-0.5, -0.5],
        output="yes",
        finish_reason="stop",
        temperature=0.7,
        top_p=1.0,
        **changes,
    )
    return Example(generation, ())


def say(example: Example, frame: Frame | None = None) -> Generation:
    return in_words(example, tokenizer=TOKENIZER, decode=decode, frame=frame).generation


@given(st.booleans(), st.lists(WORDS, min_size=1, max_size=5).filter(lambda all: len(all) % 2))
def test_what_a_template_made_is_read_back(system: bool, said: list[str]) -> None:
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(said)]
    if system:
        messages.insert(0, {"role": "system", "content": "be brief"})
    frame = read_frame(render)
    assert frame is not None
    assert frame.split(render(messages)) == messages


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        render([{"role": "user", "content": "a"}]) + "begun",
        render([{"role": "tool", "content": "a"}]),
    ],
)
def test_what_it_did_not_make_is_not(text: str) -> None:
    frame = read_frame(render)
    assert frame is not None
    assert frame.split(text) is None


def test_a_template_may_take_no_system_message_or_none_at_all() -> None:
    frame = read_frame(without_system)
    assert frame is not None
    assert frame.system is None
    asked = [{"role": "user", "content": "a"}]
    assert frame.split(render(asked)) == asked
    assert frame.split(render([{"role": "system", "content": "s"}, *asked])) is None
    assert (
        read_frame(lambda messages, tools=None, variables=None, /: "the same whatever is said")
        is None
    )


@pytest.mark.parametrize("family", ["qwen3", "glm_4_6", "glm_4_7_flash", "minimax_m2"])
def test_models_that_think_are_asked_in_messages_too(family: str) -> None:
    tokenizer = make_tokenizer(template=(TEMPLATES / f"{family}.jinja").read_text())
    roles = ("system", "user", "assistant", "user")
    asked = [{"role": role, "content": f"said {n}"} for n, role in enumerate(roles)]
    with rendering(tokenizer) as render:
        frame = read_frame(render)
        assert frame is not None
        for messages in (asked[:2], asked[1:2], asked[1:], asked):
            assert frame.split(render(messages)) == messages
            if len(messages) < 3:
                silent = render(messages, None, {"enable_thinking": False})
                assert frame.split(silent) == messages


def test_a_completion_is_asked_in_words_without_tokens_or_log_probabilities() -> None:
    told = say(made([END, *encode("a = f(")], healed="("))
    assert json.loads(told.prompt) == {"prompt": "a = f(("}
    assert (told.prompt_ids, told.output_ids, told.logprobs, told.healed) == ([], [], [], "")
    assert told.output == "yes"


def test_a_chat_is_asked_in_messages() -> None:
    asked = [{"role": "user", "content": "why?"}]
    example = made(encode(render(asked)), endpoint="chat")
    assert json.loads(say(example, read_frame(render)).prompt) == {"messages": asked}
    assert not say(example, None).prompt


def test_what_is_asked_in_marks_of_its_own_teaches_nothing() -> None:
    assert not say(made([*encode("a"), END, *encode("b")])).prompt


def test_what_an_upstream_was_asked_stays_as_it_was() -> None:
    assert say(made([], prompt='{"prompt": "a"}')).prompt == '{"prompt": "a"}'
