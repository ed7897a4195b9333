"""POST /v1/chat/completions"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.types import Receive, Scope, Send

from liveweights.api.admission import admit, check_prompt, pinned
from liveweights.api.answer import ChunkFrame, Service, envelope, send_stream, send_whole
from liveweights.api.completions import LOWEST
from liveweights.api.draft import Draft
from liveweights.api.errors import bad_request, unsupported
from liveweights.api.messages import Message, chat_tokens
from liveweights.api.request import MAX_LOGPROBS, GenerationRequest
from liveweights.api.tokenization import INLINE_CHARACTERS, Tokenizer, token_text
from liveweights.engines.protocol import Token

OBJECT = "chat.completion"
CHUNK_OBJECT = "chat.completion.chunk"


class ResponseFormat(msgspec.Struct):
    type: str


class ChatRequest(GenerationRequest, kw_only=True, forbid_unknown_fields=True):
    messages: list[Message]
    max_completion_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)] | None = None

    # Refused unless they ask for what is done anyway.
    response_format: ResponseFormat | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    functions: list[Any] | None = None
    function_call: Any = None
    parallel_tool_calls: bool | None = None
    modalities: list[str] | None = None

    def check(self) -> None:
        super().check()
        for name in ("tools", "functions"):
            if getattr(self, name):
                raise unsupported(name, f"'{name}' is not supported; leave it out.")
        for name in ("tool_choice", "function_call"):
            if getattr(self, name) not in (None, "none", "auto"):
                raise unsupported(name, f"'{name}' is not supported; leave it out.")
        if self.response_format is not None and self.response_format.type != "text":
            message = "Only {'type': 'text'} is supported as 'response_format'."
            raise unsupported("response_format", message)
        if self.modalities not in (None, ["text"]):
            raise unsupported("modalities", "Only ['text'] is supported as 'modalities'.")
        if self.top_logprobs and not self.logprobs:
            raise bad_request(
                "'top_logprobs' needs 'logprobs': true.", "top_logprobs", "invalid_value"
            )

    def limit(self, room: int, longest: int) -> int:
        """Tokens that the answer may have, where the prompt leaves ``room``."""
        asked = self.max_completion_tokens or self.max_tokens
        return asked if asked is not None else max(1, min(room, longest))

    def length(self) -> int:
        """Characters in all messages together."""
        texts = (
            content if isinstance(content, str) else "".join(part.text or "" for part in content)
            for content in (message.content or "" for message in self.messages)
        )
        return sum(map(len, texts))


class ChatShape:
    def __init__(self, draft: Draft, tokenizer: Tokenizer, request: ChatRequest) -> None:
        self.every_token = bool(request.logprobs)
        self._tokenizer = tokenizer
        self._include_usage = request.include_usage
        self._frame = ChunkFrame(draft, CHUNK_OBJECT, include_usage=request.include_usage)
        self._role = b'"role":"assistant",'

    def whole(self, draft: Draft, reason: str) -> bytes:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": draft.text(), "refusal": None},
            "logprobs": self._logprobs(draft.tokens) if self.every_token else None,
            "finish_reason": reason,
        }
        return msgspec.json.encode(
            envelope(draft, OBJECT) | {"choices": [choice], "usage": draft.usage()}
        )

    def chunk(self, token: Token, reason: str | None) -> bytes:
        logprobs = msgspec.json.encode(self._logprobs([token])) if self.every_token else b"null"
        role, self._role = self._role, b""  # on the first chunk only
        content = msgspec.json.encode(token.text)
        delta = b'"delta":{' + role + b'"content":' + content + b'},"logprobs":'
        return self._frame.chunk(delta + logprobs + b",", reason)

    def usage(self, draft: Draft) -> bytes | None:
        return self._frame.usage(draft) if self._include_usage else None

    def _logprobs(self, tokens: list[Token]) -> dict[str, Any]:
        """Natural logarithms under the model's own distribution, for every sampled token."""
        return {
            "content": [
                self._entry(token.id, token.raw_logprob)
                | {"top_logprobs": [self._entry(id, value) for id, value in token.top]}
                for token in tokens
            ],
            "refusal": None,
        }

    def _entry(self, id: int, logprob: float) -> dict[str, Any]:
        text = token_text(self._tokenizer, id)
        # Part of a character has no text of its own, and so no bytes that could be told.
        encoded = None if "\ufffd" in text else list(text.encode())
        return {"token": text, "logprob": max(logprob, LOWEST), "bytes": encoded}


class ChatEndpoint:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        request, caller = await admit(service, ChatRequest, scope, receive)
        with pinned(service, request.model, caller) as pin:
            prompt_ids = await self._prompt(request)
            room = service.engine.context_length - len(prompt_ids)
            max_tokens = request.limit(room, service.settings.max_chat_tokens)
            check_prompt(service, prompt_ids, max_tokens, "messages")
            draft = Draft(
                alias=pin.alias,
                checkpoint=pin.checkpoint,
                endpoint="chat",
                prompt_ids=prompt_ids,
                sampling=request.sampling(max_tokens, top_logprobs=request.top_logprobs or 0),
                caller=caller,
            )
            shape = ChatShape(draft, service.tokenizer, request)
            answer = send_stream if request.stream else send_whole
            await answer(service, draft, shape, receive, send)

    async def _prompt(self, request: ChatRequest) -> list[int]:
        arguments = (self._service.tokenizer, request.messages, request.model)
        if request.length() <= INLINE_CHARACTERS:
            return chat_tokens(*arguments)
        return await asyncio.to_thread(chat_tokens, *arguments)
