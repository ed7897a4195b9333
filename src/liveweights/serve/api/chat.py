"""POST /v1/chat/completions"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.types import Receive, Scope, Send

from liveweights.engines.protocol import Token
from liveweights.http.errors import ApiError, bad_request, unsupported
from liveweights.http.exchange import Exchange
from liveweights.http.streaming import DONE, broken_stream
from liveweights.serve.api.admission import admitted, check_prompt, leave_out_guidance, pinned, turn
from liveweights.serve.api.answer import ChunkFrame, Service, answer, envelope, usage
from liveweights.serve.api.caller import Caller
from liveweights.serve.api.draft import Draft, make_drafts
from liveweights.serve.api.formats import ResponseFormat
from liveweights.serve.api.logprobs import told
from liveweights.serve.api.messages import (
    Budget,
    Effort,
    Message,
    VariableName,
    Wish,
    chat_prompt,
    fewest_tokens,
    said_in,
)
from liveweights.serve.api.objects import (
    ChatChoice,
    ChatCompletion,
    ChatLogprobs,
    ChatMessage,
    CustomCall,
    CustomToolCall,
    FunctionCall,
    FunctionToolCall,
    ToolCall,
    ToolCallDelta,
)
from liveweights.serve.api.offers import Offer, ToolUse
from liveweights.serve.api.parts import Part, take_apart
from liveweights.serve.api.request import MAX_LOGPROBS, GenerationRequest
from liveweights.serve.api.syntax.protocol import Call, Thought
from liveweights.serve.api.thinking import Thinking
from liveweights.serve.api.tokenization import Tokenizer
from liveweights.serve.api.toolbox import Toolbox, make_constraint, make_toolbox
from liveweights.serve.api.tools import (
    Tool,
    ToolChoice,
    read_choice,
    read_offers,
    unknown_choices,
    unknown_tools,
)
from liveweights.serve.models import Model
from liveweights.serve.router import Pin

OBJECT = "chat.completion"
CHUNK_OBJECT = "chat.completion.chunk"


class ChatRequest(GenerationRequest, kw_only=True, forbid_unknown_fields=True):
    messages: list[Message]
    max_completion_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)] | None = None

    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None

    # For the model's template, where it reads them.
    reasoning_effort: Effort | None = None
    reasoning_budget: Budget | None = None
    chat_template_kwargs: dict[VariableName, Any] | None = None
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None

    # Refused, or not followed, unless they ask for what is done anyway.
    functions: list[Any] | None = None
    function_call: Any = None
    modalities: list[str] | None = None

    def check(self) -> None:
        super().check()
        if self.functions or self.function_call not in (None, "none", "auto"):
            name = "functions" if self.functions else "function_call"
            raise unsupported(name, f"'{name}' is not supported; use 'tools' and 'tool_choice'.")
        if self.add_generation_prompt is not None and self.add_generation_prompt == self.continued:
            message = "'add_generation_prompt' is the opposite of 'continue_final_message'."
            raise bad_request(message, "add_generation_prompt", "invalid_value")
        self.wish().check()
        if self.top_logprobs and not self.logprobs:
            raise bad_request(
                "'top_logprobs' needs 'logprobs': true.", "top_logprobs", "invalid_value"
            )

    def unmet(self) -> dict[str, str]:
        unmet = super().unmet()
        if self.modalities not in (None, ["text"]):
            unmet["modalities"] = "Only ['text'] is supported as 'modalities'."
        for at, type in (*unknown_tools(self.tools or ()), *unknown_choices(self.tool_choice)):
            unmet[at] = f"Tools of type {type[:50]!r} cannot be run here ({at})."
        return unmet

    def tool_use(self) -> ToolUse:
        """Raises ApiError 400."""
        offers = list(read_offers(self.tools or ()))
        return ToolUse(offers, read_choice(self.tool_choice), self.parallel_tool_calls is not False)

    @property
    def continued(self) -> bool:
        """Whether the answer goes on with the last message."""
        return bool(
            self.continue_final_message or (self.messages and self.messages[-1].prefix is True)
        )

    def wish(self) -> Wish:
        return Wish(
            self.chat_template_kwargs or {}, self.reasoning_effort, budget=self.reasoning_budget
        )

    def limit(self, room: int, longest: int) -> int:
        """Tokens that the answer may have, where the prompt leaves ``room``."""
        asked = self.max_completion_tokens or self.max_tokens
        return asked if asked is not None else max(1, min(room, longest))


def make_call(offer: Offer, call: Call) -> ToolCall:
    """As a client gets it."""
    if offer.custom:
        return CustomToolCall(call.id, CustomCall(offer.name, offer.text(call)))
    return FunctionToolCall(call.id, FunctionCall(offer.name, call.arguments))


class CallStream:
    """One choice's deltas where it may think or call tools: text as it comes, a call when it is
    whole."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._reader = toolbox.reader()
        self._offers = toolbox.offers
        self._tokens: list[Token] = []
        self.count = 0
        """Calls so far."""

    def push(self, token: Token, *, last: bool) -> list[bytes]:
        """Members of the deltas that follow from the next token."""
        self._tokens.append(token)
        said = self._reader.push(token) + (self._reader.finish() if last else [])
        return [self._delta(piece) for piece in said]

    def take_tokens(self) -> list[Token]:
        """The tokens since the last delta."""
        tokens, self._tokens = self._tokens, []
        return tokens

    def _delta(self, piece: Part) -> bytes:
        if isinstance(piece, Thought):
            return b'"reasoning_content":' + msgspec.json.encode(piece.text)
        if isinstance(piece, str):
            return b'"content":' + msgspec.json.encode(piece)
        call = make_call(self._offers[piece.name], piece)
        if isinstance(call, CustomToolCall):
            delta = ToolCallDelta(self.count, call.id, "custom", custom=call.custom)
        else:
            delta = ToolCallDelta(self.count, call.id, "function", call.function)
        self.count += 1
        return b'"tool_calls":' + msgspec.json.encode([delta])


class ChatShape:
    def __init__(
        self,
        drafts: Sequence[Draft],
        tokenizer: Tokenizer,
        request: ChatRequest,
        toolbox: Toolbox,
    ) -> None:
        self._logprobs = bool(request.logprobs)
        self._tokenizer = tokenizer
        self._include_usage = request.include_usage
        self._frame = ChunkFrame(drafts, CHUNK_OBJECT, include_usage=request.include_usage)
        self._roles = [b'"role":"assistant",'] * len(drafts)
        self._toolbox = toolbox
        self._calls = [CallStream(toolbox) for _ in drafts]

    def whole(self, drafts: Sequence[Draft]) -> bytes:
        choices = [self._choice(draft) for draft in drafts]
        head = envelope(drafts[0], OBJECT)
        return msgspec.json.encode(ChatCompletion(**head, choices=choices, usage=usage(drafts)))

    def _choice(self, draft: Draft) -> ChatChoice:
        said = take_apart(draft.tokens, self._toolbox.reader())
        calls = [make_call(self._toolbox.offers[call.name], call) for call in said.calls]
        return ChatChoice(
            index=draft.index,
            message=ChatMessage(
                None if calls and not said.text else said.text,
                tool_calls=calls or msgspec.UNSET,
                reasoning_content=said.thought or msgspec.UNSET,
            ),
            logprobs=self._told(draft.tokens) if self._logprobs else None,
            finish_reason="tool_calls"
            if calls and draft.reason == "stop"
            else draft.reason or "stop",
            generation=draft.id,
        )

    def token(self, draft: Draft, token: Token) -> bytes:
        if not self._toolbox.plain:
            return self._token_in_parts(draft, token)
        if not (token.text or self._logprobs or draft.reason):
            return b""
        return self._chunk(draft, b'"content":' + msgspec.json.encode(token.text), [token])

    def _token_in_parts(self, draft: Draft, token: Token) -> bytes:
        """Text as it comes, a call when it is complete, and why it ended by itself."""
        stream = self._calls[draft.index]
        deltas = stream.push(token, last=draft.reason is not None)
        chunks: list[bytes] = []
        for delta in deltas:
            chunks.append(self._chunk(draft, delta, stream.take_tokens(), last=False))
        if draft.reason is not None:
            reason = "tool_calls" if stream.count and draft.reason == "stop" else draft.reason
            chunks.append(self._chunk(draft, b"", stream.take_tokens(), reason=reason))
        return b"".join(chunks)

    def _chunk(
        self,
        draft: Draft,
        delta: bytes,
        tokens: Sequence[Token],
        *,
        last: bool = True,
        reason: str | None = None,
    ) -> bytes:
        logprobs = self._told(tokens) if self._logprobs else None
        role, self._roles[draft.index] = self._roles[draft.index], b""  # on the first chunk only
        members = b'"delta":{' + (role + delta).rstrip(b",") + b'},"logprobs":'
        body = members + msgspec.json.encode(logprobs) + b","
        return self._frame.chunk(draft, body, reason or (draft.reason if last else None))

    def end(self, drafts: Sequence[Draft]) -> bytes:
        return (self._frame.usage(drafts) if self._include_usage else b"") + DONE

    def broken(self, error: ApiError) -> bytes:
        return broken_stream(error)

    def _told(self, tokens: Sequence[Token]) -> ChatLogprobs:
        return ChatLogprobs(told(self._tokenizer, tokens))


async def prepare(
    service: Service,
    request: ChatRequest,
    caller: Caller,
    pin: Pin,
    exchange: Exchange,
    *,
    model: Model,
    use: ToolUse,
    wish: Wish,
    param: str,
    longest: int | None = None,
) -> tuple[list[Draft], Toolbox]:
    """The drafts of an answer, and what it may call. ``param`` is where the prompt was given,
    ``longest`` how many tokens an answer may have whose request does not say; None: as the settings
    say.

    Raises ApiError 400, 429.
    """
    permit = exchange.permit
    fewest = fewest_tokens(model.encoder, request.messages, param)
    # What earlier steps of the same request have used stays theirs.
    await permit.reserve(permit.used + fewest, permit.cost)
    request.check_vocabulary(len(model.tokenizer))
    leave_out_guidance(model, request, exchange)
    if "constraint" not in model.engine.guidance and not exchange.strict:
        use, left_out = use.unenforced()
        exchange.ignored += left_out
    toolbox = make_toolbox(use, model.syntax, request.model)
    variables, unread = wish.among(str(model.tokenizer.chat_template or ""))
    if unread and exchange.strict:
        message = f"The model's chat template does not read {unread[0]!r}; leave it out."
        raise unsupported(unread[0], message)
    exchange.ignored += unread
    prompt = await chat_prompt(
        model.encoder,
        model.template,
        request.messages,
        toolbox.described(),
        variables,
        model=request.model,
        tenant=caller.tenant,
        param=param,
        continued=request.continued,
    )
    prompt_ids = prompt.ids
    permit.read += len(prompt_ids)
    continued = said_in(request.messages[-1]) if request.continued else None
    thinking = find_thinking(model, prompt.text, continued, wish, exchange)
    toolbox = replace(toolbox, thinking=thinking)
    constraint = make_constraint(toolbox, request.response_format)
    room = model.engine.context_length - len(prompt_ids)
    max_tokens = request.limit(room, longest or service.settings.max_chat_tokens)
    check_prompt(model, prompt_ids, max_tokens, param)
    how = request.sampling(
        max_tokens, skip=prompt.skip, top_logprobs=request.top_logprobs or 0, constraint=constraint
    )
    prompts = [(prompt_ids, how)]
    choices = request.n or 1
    splits = thinking and thinking.splitter
    drafts = make_drafts(pin, "chat", prompts, caller, choices, engine=model.engine, splits=splits)
    return drafts, toolbox


def find_thinking(
    model: Model, prompt: str, continued: str | None, wish: Wish, exchange: Exchange
) -> Thinking | None:
    """What is thought before the answer to ``prompt``, which goes on with ``continued``; None where
    the model's family does not think. A bound that cannot be kept is left out.

    Raises ApiError 400 for such a bound, where it is to be refused.
    """
    thinker = model.thinker
    kept = thinker is not None and "constraint" in model.engine.guidance
    if wish.budget is not None and not kept:
        if exchange.strict:
            message = f"{wish.budget_at!r} cannot be kept with this model; leave it out."
            raise unsupported(wish.budget_at, message)
        exchange.ignored.append(wish.budget_at)
    if thinker is None:
        return None
    prompted = thinker.prompted(prompt, continued)
    if wish.budget is None or not kept:
        return Thinking(thinker, prompted)

    def encode(text: str) -> list[int]:
        return model.tokenizer.encode(text, add_special_tokens=False)

    return Thinking(thinker, prompted, thinker.budget(wish.budget, prompted, encode))


class ChatEndpoint:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with admitted(self._service, ChatRequest, scope, receive, send) as admission:
            await self._answer(*admission)

    async def _answer(self, request: ChatRequest, caller: Caller, exchange: Exchange) -> None:
        service = self._service
        async with pinned(service, request, caller, exchange) as (model, pin):
            drafts, toolbox = await prepare(
                service,
                request,
                caller,
                pin,
                exchange,
                model=model,
                use=request.tool_use(),
                wish=request.wish(),
                param="messages",
            )
            shape = ChatShape(drafts, model.tokenizer, request, toolbox)
            async with turn(service, caller, drafts, exchange):
                await answer(service, drafts, shape, exchange, stream=bool(request.stream))
