"""A conversation as items, and as the chat messages that they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, cast

import msgspec

from liveweights.http.errors import bad_request, need
from liveweights.http.wire import StoredText
from liveweights.serve.api.messages import ContentPart, Message
from liveweights.serve.api.responses.tools import PYTHON, full_name
from liveweights.serve.api.syntax.arguments import write_value
from liveweights.serve.api.tools import CalledCustom, CalledFunction, CalledTool

TEXTS = ("input_text", "output_text", "text", "reasoning_text", "summary_text")
Role = Literal["user", "assistant", "system", "developer"]


class ItemPart(msgspec.Struct, forbid_unknown_fields=True):
    """Only texts can be read, and what the assistant refused with; others are refused by name."""

    type: str
    text: StoredText | None = None
    refusal: StoredText | None = None
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None

    # Of the parts that are refused.
    image_url: Any = None
    file_id: Any = None
    file_data: Any = None
    file_url: Any = None
    filename: Any = None
    detail: Any = None
    input_audio: Any = None

    def said(self) -> str | None:
        """None for what is no text."""
        if self.type == "refusal":
            return self.refusal
        return self.text if self.type in TEXTS else None


class Item(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A message, a call of a tool, or what a tool answered.

    ``id`` and ``status`` come with items that were answers before, and are not needed.
    """

    type: StoredText = "message"
    role: Role | None = None
    content: StoredText | list[ItemPart] | None = None
    call_id: StoredText | None = None
    name: StoredText | None = None
    arguments: StoredText | None = None
    output: StoredText | list[ItemPart] | None = None
    id: StoredText | None = None
    status: StoredText | None = None
    phase: Any = None
    namespace: StoredText | None = None
    input: StoredText | None = None
    """What a custom tool was called with."""
    summary: list[ItemPart] | None = None
    encrypted_content: StoredText | None = None
    """Of reasoning; what only OpenAI's servers can read is not read."""

    # Of calls that the server made.
    server_label: StoredText | None = None
    error: Any = None
    approval_request_id: Any = None
    tools: Any = None
    code: StoredText | None = None
    container_id: Any = None
    outputs: list[ItemLogs] | None = None
    generation: StoredText | None = None
    """The answer of the model that made the call."""


class ItemLogs(msgspec.Struct, forbid_unknown_fields=True):
    """What a program printed."""

    type: str
    logs: StoredText | None = None
    url: Any = None


CALLS = ("function_call", "custom_tool_call")
OUTPUTS = ("function_call_output", "custom_tool_call_output")
SERVED = ("mcp_call", "code_interpreter_call")
LISTS = "mcp_list_tools"
REFERENCE = "item_reference"
REASONING = "reasoning"
KINDS = ("message", REASONING, *CALLS, *OUTPUTS, *SERVED, LISTS)


def unknown_items(items: Sequence[Item], where: str) -> Iterator[tuple[str, str]]:
    """Those that are no part of a conversation here (such as a search that OpenAI's servers
    ran): where each is, and its type."""
    for place, item in enumerate(items):
        if item.type not in KINDS:
            yield f"{where}[{place}].type", item.type


def to_messages(items: Sequence[Item], where: str) -> list[Message]:
    """The items as chat messages; calls that follow each other are one message of several, and
    reasoning belongs to what the assistant says or calls next. Calls that the server made come with
    their outputs, which follow all calls of the same answer. Those that are unknown are left out.

    Raises ApiError 400 that names the item, as ``where[3]``.
    """
    messages: list[Message] = []
    thought: str | None = None
    waiting: list[Message] = []
    made_by: str | None = None
    for place, item in enumerate(items):
        at = f"{where}[{place}]"
        if item.type == LISTS:
            continue
        if waiting and (item.type not in (*SERVED, *CALLS) or _is_of_another(item, made_by)):
            messages += waiting
            waiting = []
        if item.type == REASONING:
            thought = _thought(item, at) or thought
            continue
        if item.type == "message":
            messages.append(_message(item, at))
        elif item.type in (*CALLS, *SERVED):
            call = _call(item, at) if item.type in CALLS else _served(item, at)
            last = messages[-1] if messages else None
            if thought is None and last is not None and last.role == "assistant":
                if last.tool_calls is None:
                    last.tool_calls = []
                last.tool_calls.append(call)
            else:
                messages.append(Message("assistant", tool_calls=[call]))
            if item.type in SERVED:
                made_by = item.generation
                waiting.append(Message("tool", _given(item), tool_call_id=call.id))
        elif item.type in OUTPUTS:
            output = need(item.output, f"{at}.output")
            id = need(item.call_id, f"{at}.call_id")
            messages.append(Message("tool", _text(output, f"{at}.output"), tool_call_id=id))
        if thought is not None and item.type in KINDS:
            if messages[-1].role == "assistant":
                messages[-1].reasoning_content = thought
            thought = None
    return messages + waiting


def _is_of_another(item: Item, made_by: str | None) -> bool:
    """Whether another answer than ``made_by`` made the call; a client's own tool's is of the same
    as the one before it."""
    return item.type in SERVED and item.generation != made_by


def _served(item: Item, at: str) -> CalledTool:
    """A call that the server made."""
    id = need(item.id, f"{at}.id")
    if item.type == "code_interpreter_call":
        arguments = msgspec.json.encode({"code": item.code or ""}).decode()
        return CalledTool(id, CalledFunction(full_name(PYTHON, PYTHON), arguments))
    name = full_name(need(item.name, f"{at}.name"), need(item.server_label, f"{at}.server_label"))
    return CalledTool(id, CalledFunction(name, need(item.arguments, f"{at}.arguments")))


def _given(item: Item) -> str:
    """What such a call gave, or why it did not work."""
    if item.type == "code_interpreter_call":
        return "".join(one.logs or "" for one in item.outputs or ())
    if isinstance(item.output, str):
        return item.output
    return error_text(item.error)


def error_text(error: Any) -> str:
    """What the error of a call says."""
    if isinstance(error, dict):
        members = cast(dict[str, Any], error)
        return write_value(members.get("content") or members.get("message") or "error")
    return write_value(error or "")


def _thought(item: Item, at: str) -> str:
    """Empty where only OpenAI's servers can read it."""
    for name, told in (("content", item.content), ("summary", item.summary)):
        if told:
            said = _text(told, f"{at}.{name}")
            return said if isinstance(said, str) else ""
    return ""


def _message(item: Item, at: str) -> Message:
    role: Role = need(item.role, f"{at}.role")
    if item.content is None and role == "assistant":
        return Message(role, "")  # it said nothing
    content = need(item.content, f"{at}.content")
    return Message(role, _text(content, f"{at}.content"))


def _call(item: Item, at: str) -> CalledTool:
    name = full_name(need(item.name, f"{at}.name"), item.namespace)
    id = need(item.call_id, f"{at}.call_id")
    if item.type == "custom_tool_call":
        custom = CalledCustom(name, need(item.input, f"{at}.input"))
        return CalledTool(id, custom=custom, type="custom")
    return CalledTool(id, CalledFunction(name, need(item.arguments, f"{at}.arguments")))


def _text(content: str | list[ItemPart], at: str) -> str | list[ContentPart]:
    if isinstance(content, str):
        return content
    parts: list[str] = []
    for place, part in enumerate(content):
        said = part.said()
        if said is None:
            where = f"{at}[{place}]"
            reason = f"{where} is of type {part.type[:50]!r}; this model reads texts only."
            raise bad_request(reason, where, "unsupported_value")
        parts.append(said)
    return "".join(parts)
