"""OpenAI's answer objects, with our additions (``checkpoint``, ``generation``)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from liveweights.catalog.licences import Duty
from liveweights.http.errors import ErrorFields
from liveweights.serve.api.profile import (
    AcceptRate,
    Capabilities,
    DataPolicy,
    Latency,
    LicenceTold,
    Pricing,
    State,
    VerdictTold,
    Warned,
)

FinishReason = Literal["stop", "length", "tool_calls"]


class PromptDetails(msgspec.Struct):
    cached_tokens: int = 0


class CompletionDetails(msgspec.Struct):
    reasoning_tokens: int = 0


class Usage(msgspec.Struct):
    """``cost`` is what the answer is charged, in units of ``currency``, where it has a price."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails = msgspec.field(default_factory=PromptDetails)
    completion_tokens_details: CompletionDetails = msgspec.field(default_factory=CompletionDetails)
    cost: float | UnsetType = UNSET
    currency: str | UnsetType = UNSET


class Envelope(msgspec.Struct, kw_only=True):
    """What every answer begins with. ``checkpoint`` are the weights that gave it."""

    id: str
    object: str
    created: int
    model: str
    checkpoint: str
    system_fingerprint: str


class TopLogprob(msgspec.Struct):
    """``bytes`` is null for part of a character, which has no text of its own."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None
    top_logprobs: list[TopLogprob]


class ChatLogprobs(msgspec.Struct):
    """Natural logarithms under the model's own distribution, for every sampled token."""

    content: list[TokenLogprob]
    refusal: None = None


class FunctionCall(msgspec.Struct):
    """``arguments`` is JSON text."""

    name: str
    arguments: str


class CustomCall(msgspec.Struct):
    name: str
    input: str


class FunctionToolCall(msgspec.Struct, tag_field="type", tag="function"):
    id: str
    function: FunctionCall


class CustomToolCall(msgspec.Struct, tag_field="type", tag="custom"):
    id: str
    custom: CustomCall


ToolCall = FunctionToolCall | CustomToolCall


class ChatMessage(msgspec.Struct):
    content: str | None
    role: Literal["assistant"] = "assistant"
    refusal: None = None
    tool_calls: list[ToolCall] | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    """What the model thought before; absent where it did not."""


class ChatChoice(msgspec.Struct):
    """``generation`` is the id that feedback on this choice gives."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason
    generation: str


class ChatCompletion(Envelope, kw_only=True):
    choices: list[ChatChoice]
    usage: Usage


class ToolCallDelta(msgspec.Struct):
    """``id``, ``type`` and the name come with the first piece of a call."""

    index: int
    id: str | UnsetType = UNSET
    type: Literal["function", "custom"] | UnsetType = UNSET
    function: FunctionCall | UnsetType = UNSET
    custom: CustomCall | UnsetType = UNSET


class Delta(msgspec.Struct):
    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ToolCallDelta] | UnsetType = UNSET


class ChunkChoice(msgspec.Struct):
    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None
    generation: str | UnsetType = UNSET


class ChatCompletionChunk(Envelope, kw_only=True):
    choices: list[ChunkChoice]
    usage: Usage | UnsetType | None = UNSET


class CompletionLogprobs(msgspec.Struct):
    """Natural logarithms under the model's own distribution, for every sampled token."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(msgspec.Struct):
    """``generation`` is the id that feedback on this choice gives."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: FinishReason
    generation: str


class Completion(Envelope, kw_only=True):
    choices: list[CompletionChoice]
    usage: Usage


class Canary(msgspec.Struct):
    checkpoint: str
    share: float


class Branch(msgspec.Struct):
    """What a tenant has of its own of a model; ``loaded``: its next request is answered by it."""

    tenant: str
    checkpoint: str
    canary: Canary | None
    loaded: bool


class Model(msgspec.Struct, kw_only=True):
    """``root`` is the checkpoint whose architecture it has, of a hosted model its name at its
    upstream; ``base`` is its hub id, as far as it is known; ``parent`` is what it was learnt from.
    ``notices`` are what its licence asks to be shown, ``warnings`` what rules of use say. One that
    is not ``visible`` is listed for the operator alone. ``tenant``: the checkpoint is that one's
    own, who asks; ``tenants``, which the operator sees, are all that have one."""

    id: str
    created: int
    checkpoint: str
    root: str
    parent: str | None
    canary: Canary | None
    context_length: int | None
    max_model_len: int | None
    object: Literal["model"] = "model"
    owned_by: str = "liveweights"
    state: State
    base: str | None
    maker: str | None
    country: str | None
    licence: LicenceTold | None
    duties: tuple[Duty, ...]
    notices: tuple[str, ...]
    warnings: tuple[Warned, ...]
    capabilities: Capabilities
    pricing: Pricing | None
    data: DataPolicy
    verdict: VerdictTold | None
    accept_rate: AcceptRate | None
    latency: Latency | None
    visible: bool = True
    tenant: str | UnsetType = UNSET
    tenants: Sequence[Branch] | UnsetType = UNSET


class ModelList(msgspec.Struct):
    data: Sequence[Model]
    object: Literal["list"] = "list"


class FeedbackResult(msgspec.Struct):
    """Of one answer, or of an episode or session with so many ``steps``."""

    id: str
    signal: str
    generation: str | UnsetType = UNSET
    episode: str | UnsetType = UNSET
    session: str | UnsetType = UNSET
    steps: int | UnsetType = UNSET
    object: Literal["feedback"] = "feedback"


class FeedbackItem(msgspec.Struct):
    """One of a batch: what became of it, or why not."""

    status: int
    id: str | UnsetType = UNSET
    generation: str | UnsetType = UNSET
    signal: str | UnsetType = UNSET
    object: Literal["feedback"] | UnsetType = UNSET
    episode: str | UnsetType = UNSET
    session: str | UnsetType = UNSET
    steps: int | UnsetType = UNSET
    error: ErrorFields | UnsetType = UNSET


class FeedbackList(msgspec.Struct):
    """``error`` says how many were not recorded, if any were not."""

    data: list[FeedbackItem]
    object: Literal["list"] = "list"
    error: ErrorFields | UnsetType = UNSET


class Reaction(msgspec.Struct):
    """One feedback; ``delay`` is in seconds from the complete answer."""

    id: str
    signal: str
    value: float | None
    text: str | None
    received_at: datetime
    delay: float


class EpisodeStep(msgspec.Struct):
    """One answer of the model within an episode, with what was said of it."""

    generation: str
    created_at: datetime
    model: str
    checkpoint: str
    output: str
    reasoning: str
    finish_reason: str
    prompt_tokens: int
    output_tokens: int
    total_ms: float
    feedback: list[Reaction]


class EpisodeObject(msgspec.Struct):
    """The answers that ``metadata.episode`` ties together, in their order."""

    id: str
    steps: list[EpisodeStep]
    prompt_tokens: int
    output_tokens: int
    object: Literal["episode"] = "episode"


class GenerationObject(msgspec.Struct):
    """A recorded answer; ``prompt`` is null where neither its words nor its tokens are known."""

    id: str
    created_at: datetime
    model: str
    checkpoint: str
    endpoint: str
    tenant: str
    user: str | None
    session: str | None
    surface: str
    language: str
    consent: bool
    prompt: str | None
    output: str
    reasoning: str
    finish_reason: str
    prompt_tokens: int
    output_tokens: int
    first_token_ms: float
    total_ms: float
    metadata: dict[str, str]
    feedback: list[Reaction]
    object: Literal["generation"] = "generation"
