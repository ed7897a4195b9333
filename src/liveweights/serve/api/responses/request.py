"""What POST /v1/responses takes."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from liveweights.http.errors import bad_request, need, unsupported
from liveweights.http.wire import StoredName, StoredText
from liveweights.serve.api.chat import ChatRequest
from liveweights.serve.api.formats import JsonSchema, ResponseFormat
from liveweights.serve.api.messages import Budget, Effort, Message, VariableName, Wish
from liveweights.serve.api.offers import Schema, ToolName, ToolUse
from liveweights.serve.api.request import MAX_LOGPROBS, BaseRequest
from liveweights.serve.api.responses.items import REFERENCE, Item, unknown_items
from liveweights.serve.api.responses.tools import (
    FlatChoice,
    FlatTool,
    read_choice,
    read_offers,
    unknown_choices,
    unknown_tools,
)

LOGPROBS = "message.output_text.logprobs"
# What is not done here, unless it is null or one of these, which ask for what is done anyway.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "truncation": ("disabled",),
    "context_management": (),
}
REFUSED: dict[str, tuple[Any, ...]] = {"background": (False,), "prompt": ()}
"""The same, of what would give another answer."""


class TextFormat(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["text", "json_object", "json_schema"]
    name: ToolName | None = None
    description: str | None = None
    schema: Schema | None = None
    strict: bool | None = None


class TextOptions(msgspec.Struct, forbid_unknown_fields=True):
    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class Reasoning(msgspec.Struct, forbid_unknown_fields=True):
    effort: Effort | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    max_tokens: Budget | None = None
    """Tokens of reasoning at most."""


class ResponseStreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    include_obfuscation: bool | None = None


class ConversationName(msgspec.Struct, forbid_unknown_fields=True):
    id: StoredName


class ResponsesRequest(BaseRequest, kw_only=True, forbid_unknown_fields=True):
    kept: ClassVar[bool] = True

    input: StoredText | list[Item]
    instructions: StoredText | None = None
    previous_response_id: StoredName | None = None
    conversation: StoredName | ConversationName | None = None
    store: bool | None = None
    max_output_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    text: TextOptions | None = None
    tools: list[FlatTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | FlatChoice | None = None
    parallel_tool_calls: bool | None = None
    include: list[str] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    stream_options: ResponseStreamOptions | None = None

    # For the model's template, where it reads them.
    reasoning: Reasoning | None = None
    chat_template_kwargs: dict[VariableName, Any] | None = None

    # Refused, or not followed, unless they ask for what is done anyway.
    background: bool | None = None
    truncation: str | None = None
    prompt: Any = None
    context_management: Any = None

    max_tool_calls: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    """Of tools that the server runs."""

    def check(self) -> None:
        for name in self._other_than(REFUSED):
            raise unsupported(name, f"'{name}' is not supported; leave it out.")
        if self.top_logprobs and not self.logprobs:
            message = f"'top_logprobs' needs {LOGPROBS!r} in 'include'."
            raise bad_request(message, "top_logprobs", "invalid_value")
        if self.conversation is not None and self.previous_response_id is not None:
            message = "Give 'conversation' or 'previous_response_id': each is what was said before."
            raise bad_request(message, "previous_response_id", "invalid_value")
        self.wish().check()

    def conversation_id(self) -> str | None:
        """Of the conversation that this goes on with, and is added to."""
        named = self.conversation
        return named.id if isinstance(named, ConversationName) else named

    def wish(self) -> Wish:
        told = self.reasoning or Reasoning()
        variables = self.chat_template_kwargs or {}
        return Wish(
            variables, told.effort, "reasoning.effort", told.max_tokens, "reasoning.max_tokens"
        )

    @property
    def summarised(self) -> bool:
        """Whether the reasoning is wanted as a summary."""
        told = self.reasoning or Reasoning()
        return (told.summary or told.generate_summary) is not None

    def unmet(self) -> dict[str, str]:
        names = self._other_than(NEUTRAL)
        if self.text is not None and self.text.verbosity not in (None, "medium"):
            names.append("text.verbosity")
        unmet = {name: f"'{name}' is not supported; leave it out." for name in names}
        for place, name in enumerate(self.include or ()):
            if name != LOGPROBS:
                message = f"Only {LOGPROBS!r} can be included, not {name[:50]!r}."
                unmet[f"include[{place}]"] = message
        for at, type in (*unknown_tools(self.tools or ()), *unknown_choices(self.tool_choice)):
            unmet[at] = f"Tools of type {type[:50]!r} cannot be run here ({at})."
        for at, type in unknown_items(self.items(), "input"):
            if type == REFERENCE:
                continue
            unmet[at] = f"Items of type {type[:50]!r} are not supported ({at})."
        return unmet

    def _other_than(self, neutral: dict[str, tuple[Any, ...]]) -> list[str]:
        given = ((name, getattr(self, name), same) for name, same in neutral.items())
        return [name for name, value, same in given if value is not None and value not in same]

    @property
    def logprobs(self) -> bool:
        return LOGPROBS in (self.include or ())

    def items(self) -> list[Item]:
        """What is new in this turn."""
        if isinstance(self.input, str):
            return [Item(role="user", content=self.input)]
        return self.input

    def tool_use(self) -> ToolUse:
        """Raises ApiError 400."""
        offers = list(read_offers(self.tools or ()))
        return ToolUse(offers, read_choice(self.tool_choice), self.parallel_tool_calls is not False)

    def as_chat(self, messages: list[Message]) -> ChatRequest:
        """The same request to chat, without its tools. Raises ApiError 400."""
        return ChatRequest(
            model=self.model,
            messages=messages,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            seed=self.seed,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            repetition_penalty=self.repetition_penalty,
            min_p=self.min_p,
            max_completion_tokens=self.max_output_tokens,
            response_format=self._format(),
            logprobs=self.logprobs,
            top_logprobs=self.top_logprobs,
        )

    def _format(self) -> ResponseFormat | None:
        format = self.text.format if self.text else None
        if format is None or format.type != "json_schema":
            return format and ResponseFormat(format.type)
        schema = need(format.schema, "text.format.schema")
        name = need(format.name, "text.format.name")
        return ResponseFormat("json_schema", JsonSchema(name, schema=schema))
