"""What POST /v1/responses takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from liveweights.http.errors import bad_request, unsupported
from liveweights.http.wire import StoredName, StoredText
from liveweights.serve.api.chat import ChatRequest
from liveweights.serve.api.messages import Effort, Message, VariableName, Wish
from liveweights.serve.api.request import MAX_LOGPROBS, BaseRequest
from liveweights.serve.api.responses.items import Item, unknown_items
from liveweights.serve.api.responses.tools import (
    FlatChoice,
    FlatTool,
    Offer,
    full_name,
    offers,
    unknown_tools,
)
from liveweights.serve.api.tools import (
    FunctionName,
    JsonSchema,
    NamedTool,
    ResponseFormat,
    Schema,
    Tool,
    ToolName,
)

LOGPROBS = "message.output_text.logprobs"
# What is not done here, unless it is null or one of these, which ask for what is done anyway.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "truncation": ("disabled",),
    "max_tool_calls": (),
    "context_management": (),
}
REFUSED: dict[str, tuple[Any, ...]] = {"background": (False,), "conversation": (), "prompt": ()}
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
    summary: Any = None


class ResponseStreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    include_obfuscation: bool | None = None


class ResponsesRequest(BaseRequest, kw_only=True, forbid_unknown_fields=True):
    kept: ClassVar[bool] = True

    input: StoredText | list[Item]
    instructions: StoredText | None = None
    previous_response_id: StoredName | None = None
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
    conversation: Any = None
    prompt: Any = None
    max_tool_calls: int | None = None
    context_management: Any = None

    def check(self) -> None:
        for name in self._other_than(REFUSED):
            raise unsupported(name, f"'{name}' is not supported; leave it out.")
        if self.top_logprobs and not self.logprobs:
            message = f"'top_logprobs' needs {LOGPROBS!r} in 'include'."
            raise bad_request(message, "top_logprobs", "invalid_value")
        self.wish().check()

    def wish(self) -> Wish:
        effort = self.reasoning.effort if self.reasoning else None
        return Wish(self.chat_template_kwargs or {}, effort, "reasoning.effort")

    def unmet(self) -> dict[str, str]:
        names = self._other_than(NEUTRAL)
        if self.text is not None and self.text.verbosity not in (None, "medium"):
            names.append("text.verbosity")
        if self.reasoning is not None and self.reasoning.summary is not None:
            names.append("reasoning.summary")
        unmet = {name: f"'{name}' is not supported; leave it out." for name in names}
        for place, name in enumerate(self.include or ()):
            if name != LOGPROBS:
                message = f"Only {LOGPROBS!r} can be included, not {name[:50]!r}."
                unmet[f"include[{place}]"] = message
        for at, type in unknown_tools(self.tools or ()):
            unmet[at] = f"Tools of type {type[:50]!r} cannot be run here ({at})."
        for at, type in unknown_items(self.items(), "input"):
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

    def offers(self) -> list[Offer]:
        """The tools that can be called. Raises ApiError 400."""
        return offers(self.tools or ())

    def as_chat(self, messages: list[Message], offers: Sequence[Offer]) -> ChatRequest:
        """The same request to chat, with the functions of ``offers``. Raises ApiError 400."""
        choice = self.tool_choice
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
            tools=[Tool("function", offer.function) for offer in offers],
            tool_choice=NamedTool(
                "function", FunctionName(full_name(choice.name, choice.namespace))
            )
            if isinstance(choice, FlatChoice)
            else choice,
            parallel_tool_calls=self.parallel_tool_calls,
            response_format=self._format(),
            logprobs=self.logprobs,
            top_logprobs=self.top_logprobs,
        )

    def _format(self) -> ResponseFormat | None:
        format = self.text.format if self.text else None
        if format is None or format.type != "json_schema":
            return format and ResponseFormat(format.type)
        if format.schema is None or format.name is None:
            where = "text.format.schema" if format.schema is None else "text.format.name"
            code = "missing_required_parameter"
            raise bad_request(f"Missing required parameter: '{where}'.", where, code)
        return ResponseFormat("json_schema", JsonSchema(format.name, schema=format.schema))
