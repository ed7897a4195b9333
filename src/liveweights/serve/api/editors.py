"""POST /infill, as llama.cpp's server takes it: for editors that speak to that.

https://github.com/ggml-org/llama.cpp/tree/master/tools/server#post-infill-for-code-infilling
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.types import Receive, Scope, Send

from liveweights import bounds
from liveweights.engines.protocol import Sampling, Token
from liveweights.engines.text import heal
from liveweights.http.errors import ApiError, unsupported
from liveweights.http.exchange import Exchange
from liveweights.http.streaming import broken_stream, event
from liveweights.http.wire import reply
from liveweights.serve.api.admission import admitted, check_prompt, leave_out_guidance, pinned, turn
from liveweights.serve.api.answer import Service, answer
from liveweights.serve.api.caller import Caller
from liveweights.serve.api.draft import Draft, make_drafts
from liveweights.serve.api.encoder import Encoder
from liveweights.serve.api.models import Listing
from liveweights.serve.api.request import BaseRequest, StopString
from liveweights.serve.api.unknown import header_of
from liveweights.serve.models import Model

DEFAULT_TOKENS = 128
BEFORE, AFTER = "input_prefix", "input_suffix"


class Extra(msgspec.Struct, forbid_unknown_fields=True):
    """A piece of another file."""

    text: str
    filename: str | None = None


class InfillRequest(BaseRequest, kw_only=True, forbid_unknown_fields=True):
    """``prompt`` is what stands between the two on the line that is written."""

    model: Annotated[str, Meta(max_length=512)] = ""
    input_prefix: str
    input_suffix: str = ""
    input_extra: list[Extra] | None = None
    prompt: str = ""
    n_predict: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    stop: Annotated[list[StopString], Meta(max_length=bounds.STOPS)] | None = None
    silence: bool | None = None

    @property
    def before(self) -> str:
        return self.input_prefix + self.prompt

    def sampling(self, skip: str) -> Sampling:
        return Sampling(
            max_tokens=DEFAULT_TOKENS if self.n_predict in (None, -1) else self.n_predict,
            **self.draw(temperature=0.8, top_p=0.95, top_k=40),
            stop=tuple(self.stop or ()),
            skip=skip,
        )


class InfillAnswer(msgspec.Struct, kw_only=True):
    """``stop_type`` is limit where ``n_predict`` was reached, else eos. Where nothing was to be
    predicted, no model was asked."""

    content: str
    stop: bool
    model: str | UnsetType = UNSET
    checkpoint: str | UnsetType = UNSET
    generation: str | UnsetType = UNSET
    tokens_predicted: int
    tokens_evaluated: int
    stop_type: str


async def infill_tokens(
    model: Model, request: InfillRequest, tenant: str
) -> tuple[list[int], str, list[str]]:
    """Token ids, the text that was cut off for the answer to begin with, and parameters that this
    model cannot be told: all but what stands before, where it has no fill-in-the-middle tokens."""
    before = request.before
    if model.infill is not None:
        extra = _as_text(request.input_extra or (), _room(model.encoder))
        head, tail = extra + before, request.input_suffix
        encoder = model.encoder
        encoder.fewest(len(head), BEFORE)
        read = partial(model.infill.read, encoder, head, tail)
        ids = await encoder.work(len(head) + len(tail), tenant, read, param=BEFORE)
        return ids, "", []
    cut, skip = heal(before)
    ids = await model.encoder.encode_text(cut, tenant, param=BEFORE) if cut else []
    unread = [name for name in (AFTER, "input_extra") if getattr(request, name)]
    return ids, skip, unread


def _room(encoder: Encoder) -> int:
    """Characters that other files may have: what nearly always fits a quarter of the context."""
    return encoder.context // 2


def _as_text(extras: Sequence[Extra], room: int) -> str:
    """Pieces of other files, the last ones first where not all fit: editors add the newest at the
    end."""
    kept: list[str] = []
    for extra in reversed(extras):
        piece = f"{extra.filename or ''}\n{extra.text}\n\n"
        room -= len(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join(reversed(kept))


class InfillShape:
    def whole(self, drafts: Sequence[Draft]) -> bytes:
        (draft,) = drafts
        return msgspec.json.encode(_told(draft, draft.text()))

    def token(self, draft: Draft, token: Token) -> bytes:
        if not token.text or draft.reason is not None:
            return b""
        return event(msgspec.json.encode({"content": token.text, "stop": False}))

    def end(self, drafts: Sequence[Draft]) -> bytes:
        (draft,) = drafts
        last = draft.tokens[-1].text if draft.tokens and not draft.withheld else ""
        return event(msgspec.json.encode(_told(draft, last)))

    def broken(self, error: ApiError) -> bytes:
        return broken_stream(error)


def _told(draft: Draft, text: str) -> InfillAnswer:
    return InfillAnswer(
        content=text,
        stop=True,
        model=draft.alias,
        checkpoint=draft.checkpoint,
        generation=draft.id,
        tokens_predicted=len(draft.tokens),
        tokens_evaluated=len(draft.prompt_ids),
        stop_type="limit" if draft.reason == "length" else "eos",
    )


class InfillEndpoint:
    def __init__(self, service: Service, listing: Listing) -> None:
        self._service = service
        self._listing = listing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with admitted(self._service, InfillRequest, scope, receive, send) as admission:
            await self._answer(*admission)

    async def _answer(self, request: InfillRequest, caller: Caller, exchange: Exchange) -> None:
        service = self._service
        if request.n_predict == 0:  # an editor warms the cache; ours needs no warming
            nothing = InfillAnswer(
                content="", stop=True, tokens_predicted=0, tokens_evaluated=0, stop_type="limit"
            )
            named = header_of(exchange.ignored)
            await reply(exchange.send, 200, msgspec.json.encode(nothing), named)
            return
        request.model = request.model or self._only_model(caller)
        async with pinned(service, request, caller, exchange) as (model, pin):
            length = len(request.before) + len(request.input_suffix)
            await exchange.permit.reserve(model.encoder.fewest(length, BEFORE))
            prompt_ids, skip, unread = await infill_tokens(model, request, caller.tenant)
            exchange.permit.read += len(prompt_ids)
            if unread and exchange.strict:
                message = f"This model has no fill-in-the-middle tokens; leave {unread[0]!r} out."
                raise unsupported(unread[0], message)
            exchange.ignored += unread
            leave_out_guidance(model, request, exchange)
            how = request.sampling(skip)
            check_prompt(model, prompt_ids, how.max_tokens, BEFORE)
            drafts = make_drafts(
                pin,
                "completion",
                [(prompt_ids, how)],
                caller,
                1,
                engine=model.engine,
                silence=bool(request.silence),
            )
            async with turn(service, caller, drafts, exchange):
                stream = bool(request.stream)
                await answer(service, drafts, InfillShape(), exchange, stream=stream)

    def _only_model(self, caller: Caller) -> str:
        """These editors name none. Raises ApiError 400 where the caller is told of several."""
        names = self._listing.local(None if caller.own else caller.tenant)
        if len(names) > 1:
            listed = ", ".join(names[:20])
            raise unsupported("model", f"Several models are served here ({listed}): name one.")
        return names[0] if names else ""
