"""Turns for templates that do not take a conversation as it is."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.effort import at_most

from liveweights.catalog.template import ChatTemplate, TemplateRefusal
from liveweights.serve.api.messages import Message, conversation
from liveweights.serve.api.syntax.hermes import BEGIN, INSTRUCTED, write_tools
from liveweights.serve.api.turns import Renderer, fold, gather, join, others, render_turns

from .doubles import make_api, make_tokenizer

TURN = "<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n"
NO_SYSTEM = (
    "{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
)
ONE_SYSTEM = (
    "{% if m['role'] == 'system' and not loop.first %}{{ raise_exception('no') }}{% endif %}"
)
ALTERNATE = (
    "{% if (m['role'] == 'user') != ((loop.index0 + first) % 2 == 0) and m['role'] != 'system' %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant') }}{% endif %}"
)
TEMPLATES = {
    "any": "",
    "gemma_3": ONE_SYSTEM + ALTERNATE,
    "gemma_2": NO_SYSTEM + ALTERNATE,
    "no_system": NO_SYSTEM,
    "one_system": ONE_SYSTEM,
    "drops_system": "{% if m['role'] != 'system' %}" + TURN + "{% endif %}",
}
SYSTEM, QUESTION = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Both?"}
CALLS = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": id,
            "type": "function",
            "function": {"name": "w", "arguments": json.dumps({"c": id})},
        }
        for id in "ab"
    ],
}
OUTPUTS = [{"role": "tool", "tool_call_id": id, "content": f"it is {id}"} for id in "ab"]
TOOLS = [{"type": "function", "function": {"name": "w", "description": "", "parameters": {}}}]


def template_of(name: str) -> str:
    body = TEMPLATES[name]
    shown = body if TURN in body else body + TURN
    first = "{% set first = 1 if messages[0]['role'] == 'system' else 0 %}"
    end = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    return f"{first}{{% for m in messages %}}{shown}{{% endfor %}}{end}"


def render(name: str, turns: list[Any], *told: str) -> str:
    async def run() -> str:
        template = ChatTemplate(make_tokenizer(template=template_of(name)))
        try:
            return await render_turns(template, turns, None, {}, told)
        finally:
            await template.close()

    return asyncio.run(run())


def turns_of(name: str, *messages: Any) -> list[Any]:
    return conversation(msgspec.convert(messages, list[Message]), template_of(name))


def roles(prompt: str) -> list[str]:
    return [part.partition("\n")[0] for part in prompt.split("<|im_start|>")[1:]]


@pytest.mark.parametrize("system", [True, False])
@pytest.mark.parametrize("name", TEMPLATES)
def test_several_outputs_and_tools_are_told_under_every_template(name: str, system: bool) -> None:
    messages = ([SYSTEM] if system else []) + [QUESTION, CALLS, *OUTPUTS]
    prompt = render(name, write_tools(turns_of(name, *messages), TOOLS), INSTRUCTED)
    before = [] if name in ("gemma_2", "no_system", "drops_system") else ["system"]
    twice = [] if name.startswith("gemma") else ["user"]
    assert roles(prompt) == [*before, "user", "assistant", "user", *twice, "assistant"]
    said = ["Be brief."] * system + [INSTRUCTED, "Both?", BEGIN, "it is a", "it is b"]
    places = [prompt.index(text) for text in said]
    assert places[:-3] == sorted(places[:-3])
    assert places[-2] < places[-1]


def test_a_template_that_takes_a_conversation_sees_it_as_it_is() -> None:
    seen: list[Any] = []

    class Takes(Renderer):
        async def render(self, messages: Any, tools: Any, variables: Any = None, /) -> str:
            seen.append(messages)
            return "taken"

    turns = [QUESTION, QUESTION, SYSTEM, SYSTEM]
    assert asyncio.run(render_turns(Takes(), turns, None, {})) == "taken"
    assert seen == [turns]


def test_what_is_refused_however_it_is_said_is_refused_as_it_is() -> None:
    answer = {"role": "assistant", "content": "Hello."}
    for turns in ([answer], [answer, answer]):
        with pytest.raises(TemplateRefusal, match=r"refuses these messages: .* must alternate"):
            render("gemma_3", turns)
    # Nobody says so: what is left out of all of them is left out.
    assert render("any", [QUESTION], "nowhere") == render("any", [QUESTION])


@pytest.mark.parametrize("name", ["any", "gemma_2", "drops_system"])
def test_a_system_message_is_told_however_the_template_takes_it(name: str) -> None:
    long = {"role": "system", "content": '  Answer in French.\n\nBe "brief".\n'}
    api = make_api(chat_template=template_of(name), context_length=4096)
    body = {"model": "tiny", "messages": [long, QUESTION]}
    assert api.call("POST", "/v1/chat/completions", body).status == 200
    prompt = api.engine.tokenizer.decode(api.engine.calls[0][1])
    assert prompt.count("Answer in French.") == 1


def test_half_a_letter_in_what_a_tool_was_called_with_is_no_half() -> None:
    call = {"name": "a", "arguments": '{"q": "caf\\ud83d"}'}
    calls = [{"id": "1", "type": "function", "function": call}]
    turns = turns_of("any", QUESTION, {"role": "assistant", "content": "", "tool_calls": calls})
    assert turns[-1]["tool_calls"][0]["function"]["arguments"] == {"q": "caf\ufffd"}


@pytest.mark.parametrize("name", ["gemma_2", "drops_system"])
def test_a_chat_is_answered_and_its_tools_are_told(name: str) -> None:
    api = make_api(chat_template=template_of(name), context_length=4096)
    messages = [SYSTEM, QUESTION, CALLS, *OUTPUTS]
    body = {"model": "tiny", "messages": messages, "tools": TOOLS}
    answer = api.call("POST", "/v1/chat/completions", body)
    assert answer.status == 200, answer.body
    prompt = api.engine.tokenizer.decode(api.engine.calls[0][1])
    assert INSTRUCTED in prompt
    assert "it is b" in prompt


def test_a_call_takes_in_the_text_before_it() -> None:
    answer = {"role": "assistant", "content": "Let me see."}
    call = {"role": "assistant", "content": "", "tool_calls": [1]}
    assert join([QUESTION, answer, call, answer]) == [
        QUESTION,
        call | {"content": "Let me see."},
        answer,
    ]


TURNS = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "user", "assistant", "tool"]),
            "content": st.sampled_from(["", "a", "b", "c"]),
        }
    ),
    max_size=8,
)


@given(turns=TURNS)
def test_nothing_is_lost_or_told_twice(turns: list[Any]) -> None:
    before = json.dumps(turns)
    for other in others(turns):
        assert other != turns
        texts = [text for turn in other for text in turn["content"].split("\n\n") if text]
        assert sorted(texts) == sorted(turn["content"] for turn in turns if turn["content"])
    assert json.dumps(turns) == before
    for one, two in pairwise(join(turns)):
        assert one["role"] != two["role"] or one["role"] in ("system", "tool")
    assert [turn["role"] for turn in fold(gather(turns))].count("system") == 0


def test_many_turns_of_one_are_joined_at_once() -> None:
    turns = [{"role": "user", "content": "a" * 300}] * 20_000
    with at_most(20.0):  # one after the other it would take minutes
        (joined,) = join(turns)
    assert joined["content"] == "\n\n".join(["a" * 300] * 20_000)
