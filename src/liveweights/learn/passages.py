"""Tokens for what passed through the gateway: recorded as it was asked, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec

from liveweights.catalog.control import ControlTokens
from liveweights.catalog.template import (
    THOUGHT_MARKS,
    Render,
    TemplateRefusal,
    TemplateSettings,
    rendering,
)
from liveweights.learn.dialogue import MANNERS, Dialogue, read_dialogue
from liveweights.record.example import Example
from liveweights.record.generation import Generation


class _Asked(msgspec.Struct):
    """The record's ``prompt``: the members of the request's body that were put to the model."""

    messages: list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    prompt: Any = None
    suffix: str | None = None
    instructions: str | None = None
    input: str | list[dict[str, Any]] | None = None


def read_in_tokens(
    tokenizer: Any, settings: TemplateSettings, *parts: Sequence[Example]
) -> tuple[Dialogue | None, list[list[Example]]]:
    """A model's dialogue, and each of ``parts`` as it is learnt from: see `with_prompt_ids`."""
    with rendering(tokenizer, settings) as render:
        dialogue = read_dialogue(tokenizer, render)
        lead = dialogue.lead if dialogue else ""
        return dialogue, [
            [with_prompt_ids(one, tokenizer, render, lead) for one in part] for part in parts
        ]


def with_prompt_ids(example: Example, tokenizer: Any, render: Render, lead: str = "") -> Example:
    """``example`` with its prompt in the tokens that our own API would have made of it, and as
    ``healed`` the ``lead`` that answers of chats begin with (`dialogue.Dialogue.lead`).

    Those that have ids keep them. What cannot be said in this model's chat template is left
    without, and teaches nothing.
    """
    if lead and example.generation.endpoint == "chat" and not example.generation.healed:
        example = replace(example, generation=replace(example.generation, healed=lead))
    generation = example.generation
    if generation.prompt_ids or not generation.prompt:
        return example
    ids = prompt_ids(generation, tokenizer, render)
    return replace(example, generation=replace(generation, prompt_ids=ids)) if ids else example


def prompt_ids(generation: Generation, tokenizer: Any, render: Render) -> list[int]:
    """Token ids of the prompt that was asked; none where they cannot be made. Of an answer that is
    known as text, also those of its thought, or of an end to thinking: behind them it stands."""
    try:
        asked = msgspec.json.decode(generation.prompt, type=_Asked)
    except msgspec.MsgspecError:
        return []
    if isinstance(asked.prompt, str) and not asked.suffix:
        return list(tokenizer.encode(asked.prompt))
    messages = asked.messages
    if asked.input is not None:
        turn = {"role": "user", "content": asked.input}
        messages = [turn] if isinstance(asked.input, str) else asked.input
        if asked.instructions:
            messages = [{"role": "system", "content": asked.instructions}, *messages]
    if not messages:
        return []
    control = ControlTokens(tokenizer)
    hidden = control.hidden()  # what somebody said is text, also where it looks like the template's
    turns = [
        {name: value if name == "role" else hidden.hide(value) for name, value in message.items()}
        for message in map(_plain, messages)
    ]
    tools = hidden.hide(asked.tools)
    try:
        text = render(turns, tools)
    except TemplateRefusal:
        return []
    if not generation.output_ids:
        thought = hidden.hide(generation.reasoning)
        template = str(tokenizer.chat_template or "")
        text = _think(text, thought, template, lambda manner: render(turns, tools, manner))

    def encode(part: str) -> list[int]:
        return list(tokenizer.encode(part, add_special_tokens=False))

    return [
        id
        for part, said in hidden.pieces(text)
        for id in (control.spell(part, encode) if said else encode(part))
    ]


def _think(text: str, thought: str, template: str, ask: Callable[[Mapping[str, Any]], str]) -> str:
    """The prompt ``text`` up to where an answer is due: its ``thought`` thought out, or thinking
    switched off; empty where the template opens a thought of which nothing is known. ``ask``
    renders the prompt in another manner."""
    known = (marks for marks in THOUGHT_MARKS if any(mark in template for mark in marks))
    begin, end = next(known, ("", ""))
    if not begin:
        return text
    told = text.rstrip()
    if thought.strip() and not told.endswith(end):
        opened = told if told.endswith(begin) else text + begin
        return f"{opened}\n{thought.strip()}\n{end}\n\n"
    for manner in MANNERS:
        with suppress(TemplateRefusal):
            if (closed := ask(manner)).rstrip().endswith(end):
                return closed
    return "" if told.endswith(begin) else text


def prompt_text(generation: Generation) -> str:
    """The prompt of a completion that was asked in text; empty for any other answer."""
    if generation.endpoint != "completion" or not generation.prompt:
        return ""
    try:
        asked = msgspec.json.decode(generation.prompt, type=_Asked)
    except msgspec.MsgspecError:
        return ""
    return asked.prompt if isinstance(asked.prompt, str) and not asked.suffix else ""


def _plain(message: dict[str, Any]) -> dict[str, Any]:
    """A message whose parts of text are joined, as most templates want it."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return {**message, "content": "".join(text for text in texts if isinstance(text, str))}
