"""OpenAI's response object and its items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from liveweights.agent.decision import End
from liveweights.http.errors import ApiError
from liveweights.serve.api.objects import TokenLogprob
from liveweights.serve.api.responses.request import (
    ConversationName,
    Reasoning,
    ResponsesRequest,
    TextFormat,
)
from liveweights.serve.api.responses.tools import FlatChoice, FlatTool

Status = Literal["in_progress", "completed", "incomplete", "failed"]
CallStatus = Literal["in_progress", "interpreting", "completed", "incomplete", "failed"]


class OutputText(msgspec.Struct):
    text: str
    logprobs: list[TokenLogprob] = []
    annotations: list[Any] = []
    type: Literal["output_text"] = "output_text"


class OutputMessage(msgspec.Struct, tag_field="type", tag="message"):
    id: str
    status: Status
    content: list[OutputText]
    role: Literal["assistant"] = "assistant"


class OutputCall(msgspec.Struct, tag_field="type", tag="function_call"):
    id: str
    call_id: str
    name: str
    arguments: str
    status: Status
    namespace: str | msgspec.UnsetType = msgspec.UNSET


class OutputCustomCall(msgspec.Struct, tag_field="type", tag="custom_tool_call"):
    id: str
    call_id: str
    name: str
    input: str
    status: Status
    namespace: str | msgspec.UnsetType = msgspec.UNSET


class ListedTool(msgspec.Struct):
    name: str
    description: str
    input_schema: Mapping[str, Any]
    annotations: None = None


class OutputToolList(msgspec.Struct, tag_field="type", tag="mcp_list_tools"):
    """The tools of a set that the server runs; ``error`` says why there are none, or which were
    left out."""

    id: str
    server_label: str
    tools: list[ListedTool]
    error: str | None = None


class ExecutionError(msgspec.Struct):
    content: str
    type: Literal["mcp_tool_execution_error"] = "mcp_tool_execution_error"


class OutputServedCall(msgspec.Struct, tag_field="type", tag="mcp_call"):
    """A call that the server made. ``generation`` is the answer of the model that asked for it."""

    id: str
    server_label: str
    name: str
    arguments: str
    status: CallStatus
    generation: str
    output: str | None = None
    error: ExecutionError | None = None
    approval_request_id: None = None


class CodeLogs(msgspec.Struct):
    logs: str
    type: Literal["logs"] = "logs"


class OutputCode(msgspec.Struct, tag_field="type", tag="code_interpreter_call"):
    """A program that the server ran in a sandbox, which was made for it and is gone."""

    id: str
    code: str
    container_id: str
    status: CallStatus
    generation: str
    outputs: list[CodeLogs] | None = None


class ReasoningText(msgspec.Struct):
    text: str
    type: Literal["reasoning_text"] = "reasoning_text"


class SummaryText(msgspec.Struct):
    text: str
    type: Literal["summary_text"] = "summary_text"


class OutputReasoning(msgspec.Struct, tag_field="type", tag="reasoning"):
    """What was thought: in ``summary`` where one was asked for, else in ``content``."""

    id: str
    status: Status
    summary: list[SummaryText]
    content: list[ReasoningText] | msgspec.UnsetType = msgspec.UNSET


class InputDetails(msgspec.Struct):
    cached_tokens: int = 0


class OutputDetails(msgspec.Struct):
    reasoning_tokens: int = 0


class ResponseUsage(msgspec.Struct):
    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: InputDetails = msgspec.field(default_factory=InputDetails)
    output_tokens_details: OutputDetails = msgspec.field(default_factory=OutputDetails)
    cost: float | msgspec.UnsetType = msgspec.UNSET
    currency: str | msgspec.UnsetType = msgspec.UNSET


class IncompleteDetails(msgspec.Struct):
    reason: End


class ResponseError(msgspec.Struct):
    code: str
    message: str


class ResponseText(msgspec.Struct):
    format: TextFormat


OutputItem = (
    OutputMessage
    | OutputCall
    | OutputCustomCall
    | OutputReasoning
    | OutputToolList
    | OutputServedCall
    | OutputCode
)


class Response(msgspec.Struct, kw_only=True):
    """``generation`` is the id that feedback on this answer gives, ``episode`` the one that
    feedback on all steps gives, where the server ran tools."""

    id: str
    created_at: int
    model: str
    checkpoint: str
    generation: str
    episode: str | msgspec.UnsetType = msgspec.UNSET
    status: Status
    output: list[OutputItem]
    usage: ResponseUsage | None
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    parallel_tool_calls: bool
    previous_response_id: str | None
    conversation: ConversationName | None
    store: bool
    temperature: float
    reasoning: Reasoning
    text: ResponseText
    tool_choice: str | FlatChoice
    tools: list[FlatTool]
    top_p: float
    user: str | None
    object: Literal["response"] = "response"
    truncation: Literal["disabled"] = "disabled"


class DeletedResponse(msgspec.Struct):
    id: str
    object: Literal["response"] = "response"
    deleted: bool = True


def make_response(
    request: ResponsesRequest, id: str, created: int, checkpoint: str, generation: str
) -> Response:
    """An answer of which nothing is there yet."""
    return Response(
        id=id,
        created_at=created,
        model=request.model,
        checkpoint=checkpoint,
        generation=generation,
        status="in_progress",
        output=[],
        usage=None,
        error=None,
        incomplete_details=None,
        instructions=request.instructions,
        max_output_tokens=request.max_output_tokens,
        metadata=request.metadata or {},
        parallel_tool_calls=request.parallel_tool_calls is not False,
        previous_response_id=request.previous_response_id,
        conversation=ConversationName(named) if (named := request.conversation_id()) else None,
        store=request.store is not False,
        temperature=1.0 if request.temperature is None else request.temperature,
        reasoning=request.reasoning or Reasoning(),
        text=ResponseText((request.text and request.text.format) or TextFormat("text")),
        tool_choice=request.tool_choice or "auto",
        tools=request.tools or [],
        top_p=1.0 if request.top_p is None else request.top_p,
        user=request.user,
    )


def failed(response: Response, error: ApiError) -> Response:
    said = ResponseError(error.code or error.type, error.message)
    return msgspec.structs.replace(response, status="failed", error=said)
