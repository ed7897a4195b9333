"""Chat messages, and the prompt that a model's template makes of them."""

from __future__ import annotations

from typing import Any, Literal, cast

import msgspec
from jinja2 import TemplateError

from liveweights.api.errors import bad_request, unsupported
from liveweights.api.tokenization import Tokenizer

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class ContentPart(msgspec.Struct):
    """Only ``text`` parts can be read; others are refused by name."""

    type: str
    text: str | None = None


class Message(msgspec.Struct, forbid_unknown_fields=True):
    role: Role
    content: str | list[ContentPart] | None = None
    name: str | None = None

    # What the official client sends back when an answer becomes part of the conversation.
    refusal: str | None = None
    annotations: list[Any] | None = None
    audio: Any = None
    function_call: Any = None
    tool_calls: list[Any] | None = None
    tool_call_id: str | None = None


def conversation(messages: list[Message], template: str) -> list[dict[str, str]]:
    """Messages as templates expect them. Raises ApiError 400."""
    if not messages:
        raise bad_request("'messages' is empty: there is nothing to answer.", "messages", "empty")
    turns: list[dict[str, str]] = []
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        for name in ("audio", "function_call", "tool_calls", "tool_call_id"):
            if getattr(message, name):
                raise unsupported(f"{where}.{name}", f"'{name}' in {where} is not supported.")
        if message.role in ("tool", "function"):
            raise unsupported(f"{where}.role", f"The role {message.role!r} is not supported.")
        role = message.role
        if role == "developer" and "developer" not in template:
            role = "system"  # the same thing, in the words of most open models
        turns.append({"role": role, "content": _text(message, where)})
    return turns


def _text(message: Message, where: str) -> str:
    if isinstance(message.content, str):
        return message.content
    if message.content is None:
        raise bad_request(
            f"{where} has no content.", f"{where}.content", "missing_required_parameter"
        )
    parts: list[str] = []
    for place, part in enumerate(message.content):
        if part.type != "text" or part.text is None:
            at = f"{where}.content[{place}]"
            reason = f"{at} is of type {part.type[:50]!r}; this model reads text parts only."
            raise bad_request(reason, at, "unsupported_value")
        parts.append(part.text)
    return "".join(parts)


def chat_tokens(tokenizer: Tokenizer, messages: list[Message], model: str) -> list[int]:
    """The conversation in the model's own template, ready for the assistant to answer.

    Raises ApiError 400, also for what the template itself refuses (such as an order of roles).
    """
    template = tokenizer.chat_template
    if not template:
        message = f"The model {model!r} has no chat template; use /v1/completions."
        raise unsupported("messages", message)
    turns = conversation(messages, str(template))
    try:
        ids = tokenizer.apply_chat_template(
            turns, tokenize=True, add_generation_prompt=True, return_dict=False
        )
    except TemplateError as error:
        reason = f"The model's chat template refuses these messages: {error}"
        raise bad_request(reason, "messages", "invalid_value") from None
    return cast(list[int], ids)
