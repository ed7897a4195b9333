"""POST /v1/completions"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.types import Receive, Scope, Send

from liveweights.api.admission import admit, check_prompt, pinned
from liveweights.api.answer import ChunkFrame, Service, envelope, send_stream, send_whole
from liveweights.api.draft import Draft
from liveweights.api.errors import bad_request, unsupported
from liveweights.api.request import MAX_LOGPROBS, GenerationRequest
from liveweights.api.tokenization import Tokenizer, encode, token_text
from liveweights.engines.protocol import Token
from liveweights.engines.text import heal

OBJECT = "text_completion"
DEFAULT_MAX_TOKENS = 16
LOWEST = -9999.0  # OpenAI's stand-in for minus infinity, which JSON cannot say

Prompt = str | list[str | int | list[int]]


class CompletionRequest(GenerationRequest, kw_only=True, forbid_unknown_fields=True):
    prompt: Prompt
    suffix: str | None = None
    logprobs: Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)] | None = None
    echo: bool | None = None
    best_of: int | None = None

    def check(self) -> None:
        super().check()
        if self.echo:
            raise unsupported("echo", "'echo' is not supported; prepend the prompt yourself.")
        if self.best_of not in (None, 1):
            raise unsupported("best_of", "One answer per request: 'best_of' must be 1.")


def one_prompt(prompt: Prompt, vocabulary: int) -> str | list[int]:
    """The request's only prompt, as text or token ids. Raises ApiError 400."""
    if isinstance(prompt, str):
        return prompt
    items: Sequence[str | int | list[int]] = prompt
    if len(prompt) == 1 and isinstance(only := prompt[0], str | list):
        if isinstance(only, str):
            return only
        items = only
    ids: list[int] = []
    for place, item in enumerate(items):
        if not isinstance(item, int):
            message = "One prompt per request: send a string or one array of token ids."
            raise bad_request(message, "prompt", "unsupported_value")
        if not 0 <= item < vocabulary:
            message = f"Token id {str(item)[:30]} at prompt[{place}] is not in [0, {vocabulary})."
            raise bad_request(message, f"prompt[{place}]", "invalid_value")
        ids.append(item)
    return ids


async def prompt_tokens(service: Service, request: CompletionRequest) -> tuple[list[int], str]:
    """Token ids, and the text that was cut off the prompt for the answer to begin with."""
    prompt = one_prompt(request.prompt, len(service.tokenizer))
    if request.suffix:
        if service.infill is None:
            message = (
                f"The model {request.model!r} has no fill-in-the-middle tokens, so 'suffix' "
                "cannot be used with it; leave it out."
            )
            raise unsupported("suffix", message)
        if not isinstance(prompt, str):
            raise bad_request("'suffix' needs a prompt that is text.", "prompt", "invalid_value")
        return await service.infill.encode(service.tokenizer, prompt, request.suffix), ""
    if not isinstance(prompt, str):
        return prompt, ""
    cut, skip = heal(prompt)
    return await encode(service.tokenizer, cut) if cut else [], skip


class CompletionShape:
    def __init__(self, draft: Draft, tokenizer: Tokenizer, request: CompletionRequest) -> None:
        self.every_token = request.logprobs is not None
        self._tokenizer = tokenizer
        self._include_usage = request.include_usage
        self._frame = ChunkFrame(draft, OBJECT, include_usage=request.include_usage)
        self._offset = 0

    def whole(self, draft: Draft, reason: str) -> bytes:
        choice = {
            "index": 0,
            "text": draft.text(),
            "logprobs": self._logprobs(draft.tokens) if self.every_token else None,
            "finish_reason": reason,
        }
        return msgspec.json.encode(
            envelope(draft, OBJECT) | {"choices": [choice], "usage": draft.usage()}
        )

    def chunk(self, token: Token, reason: str | None) -> bytes:
        logprobs = msgspec.json.encode(self._logprobs([token])) if self.every_token else b"null"
        body = b'"text":' + msgspec.json.encode(token.text) + b',"logprobs":' + logprobs + b","
        return self._frame.chunk(body, reason)

    def usage(self, draft: Draft) -> bytes | None:
        return self._frame.usage(draft) if self._include_usage else None

    def _logprobs(self, tokens: list[Token]) -> dict[str, Any]:
        """Natural logarithms under the model's own distribution, for every sampled token."""
        offsets: list[int] = []
        for token in tokens:
            offsets.append(self._offset)
            self._offset += len(token.text)
        return {
            "tokens": [token_text(self._tokenizer, token.id) for token in tokens],
            "token_logprobs": [max(token.raw_logprob, LOWEST) for token in tokens],
            "top_logprobs": [
                {token_text(self._tokenizer, id): max(value, LOWEST) for id, value in token.top}
                for token in tokens
            ],
            "text_offset": offsets,
        }


class CompletionsEndpoint:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        request, caller = await admit(service, CompletionRequest, scope, receive)
        with pinned(service, request.model, caller) as pin:
            prompt_ids, skip = await prompt_tokens(service, request)
            max_tokens = request.max_tokens or DEFAULT_MAX_TOKENS
            check_prompt(service, prompt_ids, max_tokens, "prompt")
            draft = Draft(
                alias=pin.alias,
                checkpoint=pin.checkpoint,
                endpoint="completion",
                prompt_ids=prompt_ids,
                sampling=request.sampling(
                    max_tokens, skip=skip, top_logprobs=request.logprobs or 0
                ),
                caller=caller,
            )
            shape = CompletionShape(draft, service.tokenizer, request)
            answer = send_stream if request.stream else send_whole
            await answer(service, draft, shape, receive, send)
