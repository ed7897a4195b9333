"""Chat messages, and the prompt that a model's template makes of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from liveweights.catalog.control import Hidden
from liveweights.catalog.template import TemplateRefusal
from liveweights.catalog.template_host import CONTINUE
from liveweights.engines.text import heal
from liveweights.http.errors import bad_request, need, unsupported
from liveweights.http.surrogates import without_halves
from liveweights.http.wire import is_deep
from liveweights.serve.api.encoder import Encoder
from liveweights.serve.api.syntax.arguments import write_value
from liveweights.serve.api.syntax.find import takes_tools
from liveweights.serve.api.syntax.hermes import INSTRUCTED, write_tools
from liveweights.serve.api.syntax.protocol import ID_LENGTH, INPUT
from liveweights.serve.api.thinking import EFFORT, effort_variables, names_in
from liveweights.serve.api.tools import CalledTool
from liveweights.serve.api.turns import Renderer, render_turns

_AROUND = 16  # characters that a template puts around a message, about

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class ContentPart(msgspec.Struct):
    """Only texts can be read, and what the assistant refused with; others are refused by name."""

    type: str
    text: str | None = None
    refusal: str | None = None

    def said(self) -> str | None:
        """None for what is no text."""
        return {"text": self.text, "refusal": self.refusal}.get(self.type)


class Message(msgspec.Struct, forbid_unknown_fields=True):
    role: Role
    content: str | list[ContentPart] | None = None
    name: str | None = None

    # What the official client sends back when an answer becomes part of the conversation.
    refusal: str | None = None
    annotations: list[Any] | None = None
    audio: Any = None
    function_call: Any = None
    tool_calls: list[CalledTool] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    """What the assistant thought before, for templates that show it."""
    prefix: bool | None = None
    """The last message, of the assistant, is the beginning of the answer."""


_JOINED = re.compile(
    r"""\+\s*\w+(?:\.\w+|\[['"]\w+['"]\])*(?:\.|\[['"])arguments(?:['"]\])?\s*(?:\+|\}\})"""
)


@cache
def _joins_arguments(template: str) -> bool:
    """Whether it takes a call's arguments for a text, as DeepSeek V3's does."""
    return _JOINED.search(template) is not None


def conversation(messages: list[Message], template: str) -> list[dict[str, Any]]:
    """Messages as templates expect them. Raises ApiError 400."""
    if not messages:
        raise bad_request("'messages' is empty: there is nothing to answer.", "messages", "empty")
    turns: list[dict[str, Any]] = []
    called: dict[str, str] = {}
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        for name in ("audio", "function_call"):
            if getattr(message, name):
                raise unsupported(f"{where}.{name}", f"'{name}' in {where} is not supported.")
        if message.role == "function":
            raise unsupported(f"{where}.role", "The role 'function' is not supported; use 'tool'.")
        role = message.role
        if role == "developer" and "developer" not in template:
            role = "system"  # the same thing, in the words of most open models
        turn: dict[str, Any] = {"role": role, "content": _text(message, where)}
        if message.reasoning_content and role == "assistant":
            turn["reasoning_content"] = message.reasoning_content
            if message.tool_calls and not turn["content"]:
                turn["thinking"] = message.reasoning_content  # harmony's name for it
        if message.tool_calls:
            if role != "assistant":
                at = f"{where}.tool_calls"
                raise bad_request("Only the assistant calls tools.", at, "invalid_value")
            calls = [
                _called(call, f"{where}.tool_calls[{i}]")
                for i, call in enumerate(message.tool_calls)
            ]
            given = zip(message.tool_calls, calls, strict=True)
            called |= {call.id: told["function"]["name"] for call, told in given}
            turn["tool_calls"] = calls
            if _joins_arguments(template):
                for told in calls:
                    function = told["function"]
                    function["arguments"] = write_value(function["arguments"])
        if role == "tool":
            turn |= _answered(message, called, where)
        turns.append(turn)
    return turns


def _called(call: CalledTool, where: str) -> dict[str, Any]:
    if call.type == "custom":
        custom = need(call.custom, f"{where}.custom")
        function: dict[str, Any] = {"name": custom.name, "arguments": {INPUT: custom.input}}
    else:
        given = need(call.function, f"{where}.function")
        function = {"name": given.name, "arguments": _read_arguments(given.arguments)}
    return {"id": _template_id(call.id), "type": "function", "function": function}


def _read_arguments(text: str) -> Any:
    """As they are where they are no JSON, or nested deeper than a body may be: the model's own
    slip, which it shall see."""
    written = text.encode()
    if is_deep(written):
        return text
    try:
        return json.loads(without_halves(written))  # half of a pair would be no text any more
    except (ValueError, RecursionError):
        return text


def _answered(message: Message, called: dict[str, str], where: str) -> dict[str, str]:
    id = need(message.tool_call_id, f"{where}.tool_call_id")
    name = called.get(id) or message.name or ""
    return {"tool_call_id": _template_id(id), "name": name}


def _template_id(id: str) -> str:
    if len(id) == ID_LENGTH and id.isalnum() and id.isascii():
        return id
    return hashlib.sha256(id.encode(errors="replace")).hexdigest()[:ID_LENGTH]


def _text(message: Message, where: str) -> str:
    if isinstance(message.content, str):
        return message.content
    if message.content is None:
        if message.role == "assistant":
            return ""  # it called a tool, or said nothing
        raise bad_request(
            f"{where} has no content.", f"{where}.content", "missing_required_parameter"
        )
    parts: list[str] = []
    for place, part in enumerate(message.content):
        said = part.said()
        if said is None:
            at = f"{where}.content[{place}]"
            reason = f"{at} is of type {part.type[:50]!r}; this model reads text parts only."
            raise bad_request(reason, at, "unsupported_value")
        parts.append(said)
    return "".join(parts)


RESERVED = frozenset(
    {"messages", "tools", "documents", "add_generation_prompt", "continue_final_message"}
    | {"chat_template", "conversations", "return_assistant_tokens_mask"}
)
"""What a template is told by who renders it."""

BUDGET = "reasoning_budget"
THINKING_BUDGET = "thinking_budget"
"""The variable of templates that tell the model of it."""

VariableName = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]
Effort = Annotated[str, Meta(min_length=1, max_length=32)]
Budget = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""Tokens."""


class Wish(msgspec.Struct, frozen=True):
    """What a request says to the model's template beside the conversation."""

    variables: dict[str, Any] = {}
    effort: str | None = None
    """How long to think (``reasoning_effort`` for the template)."""
    effort_at: str = EFFORT
    """Where the request says so."""
    budget: int | None = None
    """Tokens of thinking at most."""
    budget_at: str = BUDGET

    def check(self) -> None:
        """Raises ApiError 400."""
        for name in RESERVED.intersection(self.variables):
            message = f"{name!r} is not the template's to be told; leave it out."
            raise bad_request(message, f"chat_template_kwargs.{name}", "invalid_value")

    def among(self, template: str) -> tuple[dict[str, Any], list[str]]:
        """The variables that a template reads, and the parameters that it does not."""
        known = {name: value for name, value in self.variables.items() if name in template}
        unread = [f"chat_template_kwargs.{name}" for name in self.variables if name not in known]
        if self.effort is not None:
            told = effort_variables(self.effort, template)
            if told is None:
                unread.append(self.effort_at)
            known = (told or {}) | known
        if self.budget is not None and THINKING_BUDGET in names_in(template):
            known = {THINKING_BUDGET: self.budget} | known
        return known, unread


class Prompt(NamedTuple):
    """``skip`` is what the answer is expected to begin with, which is cut off
    (``engines.text.heal``); ``text`` is the prompt in the template's words."""

    ids: list[int]
    skip: str
    text: str


async def chat_prompt(
    encoder: Encoder,
    template: Renderer | None,
    messages: list[Message],
    tools: list[dict[str, Any]],
    variables: Mapping[str, Any],
    *,
    model: str,
    tenant: str,
    param: str,
    continued: bool = False,
) -> Prompt:
    """The conversation in the model's own template, which may read ``variables``, ready for the
    assistant to answer, or to go on with its last message.

    Raises ApiError 400, also for what the template refuses (such as an order of roles), and where
    it fails or takes too much; 429.
    """
    text = str(encoder.tokenizer.chat_template or "")
    if not text or template is None:
        message = f"The model {model!r} has no chat template; use /v1/completions."
        raise unsupported("messages", message)
    hidden = encoder.control.hidden()
    work = partial(_turns, messages, tools, text, hidden)
    turns, told = await encoder.work(_size(messages, tools), tenant, work, param=param)
    written = [turn["content"] for turn in turns if turn["role"] in ("system", "developer")]
    if tools and told is None:
        written.append(INSTRUCTED)
    if continued:
        if not messages or messages[-1].role != "assistant":
            message = "Only a last message of the assistant can be continued."
            raise bad_request(message, f"messages[{len(messages) - 1}].role", "invalid_value")
        variables = {**variables, CONTINUE: True}
    try:
        prompt = await render_turns(template, turns, told, variables, written)
    except TemplateRefusal as error:
        message = f"The model's chat template {error}."
        raise bad_request(message, "messages", "invalid_value") from None
    prompt, skip = heal(prompt) if continued else (prompt, "")
    try:
        ids = await encoder.encode_said(prompt, hidden, tenant, param=param)
        return Prompt(ids, skip, prompt)
    except TypeError as error:  # it holds half a character
        message = f"The model's tokenizer cannot read these messages: {error}."
        raise bad_request(message, "messages", "invalid_value") from None


def said_in(message: Message) -> str:
    """The texts of its content."""
    content = message.content or ""
    return content if isinstance(content, str) else "".join(part.said() or "" for part in content)


def fewest_tokens(encoder: Encoder, messages: Sequence[Message], param: str) -> int:
    """That a conversation has, by its length alone. What the assistant said before does not
    count: templates leave some of it out. Raises ApiError 400 where it cannot fit."""
    encoder.check(len(messages), param)  # each has a token at least
    said = [message for message in messages if message.role != "assistant"]
    return encoder.fewest(length(said) - _AROUND * len(said), param)


def length(messages: Sequence[Message]) -> int:
    """Of the conversation in characters, about: a message without content has a length, too."""
    return sum(len(said_in(message)) for message in messages) + _AROUND * len(messages)


def _size(messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> int:
    """Of all that is told to the template, about; in characters, or bytes of what is JSON."""
    size = length(messages) + len(msgspec.json.encode(tools))
    for message in messages:
        size += len(message.reasoning_content or "")
        for call in message.tool_calls or ():
            size += _AROUND
            size += len(call.function.arguments if call.function else "")
            size += len(call.custom.input if call.custom else "")
    return size


def _turns(
    messages: list[Message], tools: list[dict[str, Any]], template: str, hidden: Hidden
) -> tuple[list[dict[str, Any]], list[dict[str, Any]] | None]:
    """Messages and tools as the template takes them. Raises ApiError 400."""
    turns = [
        {name: value if name == "role" else hidden.hide(value) for name, value in turn.items()}
        for turn in conversation(messages, template)
    ]
    tools = hidden.hide(tools)
    if takes_tools(template):
        return turns, tools or None
    return write_tools(turns, tools), None
