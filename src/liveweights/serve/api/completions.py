"""POST /v1/completions"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.types import Receive, Scope, Send

from liveweights.engines.protocol import Sampling, Token
from liveweights.engines.text import heal
from liveweights.http.errors import ApiError, bad_request, unsupported
from liveweights.http.exchange import Exchange
from liveweights.http.streaming import DONE, broken_stream
from liveweights.serve.api.admission import admitted, check_prompt, leave_out_guidance, pinned, turn
from liveweights.serve.api.answer import ChunkFrame, Service, answer, envelope, usage
from liveweights.serve.api.caller import Caller
from liveweights.serve.api.draft import Draft, make_drafts
from liveweights.serve.api.encoder import Encoder
from liveweights.serve.api.logprobs import LOWEST
from liveweights.serve.api.objects import Completion, CompletionChoice, CompletionLogprobs
from liveweights.serve.api.request import MAX_LOGPROBS, GenerationRequest
from liveweights.serve.api.tokenization import Tokenizer, token_text
from liveweights.serve.models import Model

OBJECT = "text_completion"
DEFAULT_MAX_TOKENS = 16
MAX_PROMPTS = 64

Prompt = str | list[str | int | list[int]]


class CompletionRequest(GenerationRequest, kw_only=True, forbid_unknown_fields=True):
    prompt: Prompt
    suffix: str | None = None
    logprobs: Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    echo: bool | None = None
    best_of: int | None = None
    silence: bool | None = None

    def check(self) -> None:
        super().check()
        if self.echo:
            raise unsupported("echo", "'echo' is not supported; prepend the prompt yourself.")

    def unmet(self) -> dict[str, str]:
        unmet = super().unmet()
        if self.best_of is not None and self.best_of != (self.n or 1):
            unmet["best_of"] = "'best_of' is not supported beyond 'n'; leave it out."
        return unmet


def fewest_tokens(encoder: Encoder, prompt: Prompt, suffix: str | None) -> int:
    """That all prompts of a request have together, by their lengths alone. Raises ApiError 400
    where one cannot fit."""
    if isinstance(prompt, str):
        return encoder.fewest(len(prompt), "prompt") + encoder.fewest(len(suffix or ""), "suffix")
    if prompt and isinstance(prompt[0], int):
        encoder.check(len(prompt), "prompt")
        return len(prompt)
    total = 0
    for place, item in enumerate(prompt[:MAX_PROMPTS]):
        if isinstance(item, str):
            total += encoder.fewest(len(item), f"prompt[{place}]")
        elif isinstance(item, list):
            encoder.check(len(item), f"prompt[{place}]")
            total += len(item)
    return total


def split_prompts(prompt: Prompt, vocabulary: int) -> list[str | list[int]]:
    """The request's prompts, each as text or token ids. Raises ApiError 400."""
    if isinstance(prompt, str):
        return [prompt]
    if all(isinstance(item, int) for item in prompt):
        return [_token_ids(prompt, vocabulary, "prompt")]
    if len(prompt) > MAX_PROMPTS:
        message = f"{len(prompt)} prompts are more than the {MAX_PROMPTS} of one request."
        raise bad_request(message, "prompt", "invalid_value")
    prompts: list[str | list[int]] = []
    for place, item in enumerate(prompt):
        if isinstance(item, int):
            message = "Send texts or arrays of token ids in 'prompt', not both."
            raise bad_request(message, f"prompt[{place}]", "invalid_value")
        if isinstance(item, str):
            prompts.append(item)
        else:
            prompts.append(_token_ids(item, vocabulary, f"prompt[{place}]"))
    return prompts


def _token_ids(items: Sequence[str | int | list[int]], vocabulary: int, where: str) -> list[int]:
    ids: list[int] = []
    for place, item in enumerate(items):
        assert isinstance(item, int)
        if not 0 <= item < vocabulary:
            message = f"Token id {str(item)[:30]} at {where}[{place}] is not in [0, {vocabulary})."
            raise bad_request(message, f"{where}[{place}]", "invalid_value")
        ids.append(item)
    return ids


def leave_out_suffix(model: Model, request: CompletionRequest, exchange: Exchange) -> None:
    """Where the model has no fill-in-the-middle tokens. Raises ApiError 400 where that is to be
    refused."""
    if not request.suffix or model.infill is not None:
        return
    if exchange.strict:
        message = (
            f"The model {request.model!r} has no fill-in-the-middle tokens, so 'suffix' "
            "cannot be used with it; leave it out."
        )
        raise unsupported("suffix", message)
    request.suffix = None
    exchange.ignored.append("suffix")


async def read_prompts(
    model: Model, request: CompletionRequest, tenant: str, *, control: bool
) -> list[tuple[list[int], str]]:
    """Of each prompt its token ids, and the text that was cut off it for the answer to begin with.

    ``control``: control tokens that a prompt spells out are these tokens. Raises ApiError 400, 429.
    """
    prompts = split_prompts(request.prompt, len(model.tokenizer))
    if request.suffix and not all(isinstance(prompt, str) for prompt in prompts):
        raise bad_request("'suffix' needs a prompt that is text.", "prompt", "invalid_value")
    beside = len(request.suffix or "")
    characters = sum(len(prompt) + beside for prompt in prompts if isinstance(prompt, str))

    def read() -> list[tuple[list[int], str]]:
        return [_read_prompt(model, prompt, request.suffix, control=control) for prompt in prompts]

    return await model.encoder.work(characters, tenant, read)


def _read_prompt(
    model: Model, prompt: str | list[int], suffix: str | None, *, control: bool
) -> tuple[list[int], str]:
    if not isinstance(prompt, str):
        return prompt, ""
    encoder = model.encoder
    if suffix and model.infill is not None:
        return model.infill.read(encoder, prompt, suffix), ""
    cut, skip = heal(prompt)
    if not cut:
        return [], skip
    return encoder.read(cut, special=True) if control else encoder.read_text(cut), skip


class CompletionShape:
    def __init__(
        self, drafts: Sequence[Draft], tokenizer: Tokenizer, request: CompletionRequest
    ) -> None:
        self._logprobs = request.logprobs is not None
        self._tokenizer = tokenizer
        self._include_usage = request.include_usage
        self._frame = ChunkFrame(drafts, OBJECT, include_usage=request.include_usage)
        self._offsets = [0] * len(drafts)

    def whole(self, drafts: Sequence[Draft]) -> bytes:
        choices = [
            CompletionChoice(
                index=draft.index,
                text=draft.text(),
                logprobs=self._told(draft, draft.seen()) if self._logprobs else None,
                finish_reason=draft.reason or "stop",
                generation=draft.id,
            )
            for draft in drafts
        ]
        head = envelope(drafts[0], OBJECT)
        return msgspec.json.encode(Completion(**head, choices=choices, usage=usage(drafts)))

    def token(self, draft: Draft, token: Token) -> bytes:
        if not (token.text or self._logprobs or draft.reason):
            return b""
        told = [] if draft.withheld else [token]
        logprobs = self._told(draft, told) if self._logprobs else None
        text = msgspec.json.encode(token.text)
        body = b'"text":' + text + b',"logprobs":' + msgspec.json.encode(logprobs) + b","
        return self._frame.chunk(draft, body, draft.reason)

    def end(self, drafts: Sequence[Draft]) -> bytes:
        return (self._frame.usage(drafts) if self._include_usage else b"") + DONE

    def broken(self, error: ApiError) -> bytes:
        return broken_stream(error)

    def _told(self, draft: Draft, tokens: Sequence[Token]) -> CompletionLogprobs:
        offsets: list[int] = []
        for token in tokens:
            offsets.append(self._offsets[draft.index])
            self._offsets[draft.index] += len(token.text)
        return CompletionLogprobs(
            tokens=[token_text(self._tokenizer, token.id) for token in tokens],
            token_logprobs=[max(token.raw_logprob, LOWEST) for token in tokens],
            top_logprobs=[
                {token_text(self._tokenizer, id): max(value, LOWEST) for id, value in token.top}
                for token in tokens
            ],
            text_offset=offsets,
        )


class CompletionsEndpoint:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with admitted(self._service, CompletionRequest, scope, receive, send) as admission:
            await self._answer(*admission)

    async def _answer(self, request: CompletionRequest, caller: Caller, exchange: Exchange) -> None:
        service = self._service
        async with pinned(service, request, caller, exchange) as (model, pin):
            request.check_vocabulary(len(model.tokenizer))
            leave_out_guidance(model, request, exchange)
            leave_out_suffix(model, request, exchange)
            fewest = fewest_tokens(model.encoder, request.prompt, request.suffix)
            await exchange.permit.reserve(fewest)
            control = service.settings.prompt_control_tokens
            read = await read_prompts(model, request, caller.tenant, control=control)
            prompts: list[tuple[list[int], Sampling]] = []
            for prompt_ids, skip in read:
                exchange.permit.read += len(prompt_ids)
                max_tokens = request.max_tokens or DEFAULT_MAX_TOKENS
                check_prompt(model, prompt_ids, max_tokens, "prompt")
                how = request.sampling(max_tokens, skip=skip, top_logprobs=request.logprobs or 0)
                prompts.append((prompt_ids, how))
            drafts = make_drafts(
                pin,
                "completion",
                prompts,
                caller,
                request.n or 1,
                engine=model.engine,
                silence=bool(request.silence),
            )
            shape = CompletionShape(drafts, model.tokenizer, request)
            async with turn(service, caller, drafts, exchange):
                await answer(service, drafts, shape, exchange, stream=bool(request.stream))
