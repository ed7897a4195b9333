"""A response on the wire: whole, or as the events that put it together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from liveweights.engines.protocol import Token
from liveweights.http.errors import ApiError
from liveweights.serve.api.answer import cost_of
from liveweights.serve.api.draft import Draft
from liveweights.serve.api.identifiers import make_id
from liveweights.serve.api.logprobs import told
from liveweights.serve.api.responses.objects import (
    IncompleteDetails,
    OutputCall,
    OutputCustomCall,
    OutputMessage,
    OutputText,
    Response,
    ResponseUsage,
    Status,
    failed,
)
from liveweights.serve.api.syntax.protocol import Call, Said
from liveweights.serve.api.tokenization import Tokenizer
from liveweights.serve.api.toolbox import Toolbox


class ResponseShape:
    """``logprobs`` says whether those of the text are told."""

    def __init__(
        self,
        response: Response,
        tokenizer: Tokenizer,
        toolbox: Toolbox,
        *,
        logprobs: bool,
    ) -> None:
        self._offers = toolbox.offers
        self.response = response
        self._tokenizer = tokenizer
        self._reader = toolbox.reader()
        self._logprobs = logprobs
        self._sequence = 0
        self._message: OutputMessage | None = None
        self._tokens: list[Token] = []
        self._tail: list[bytes] = []

    def whole(self, drafts: Sequence[Draft]) -> bytes:
        return msgspec.json.encode(self.response)

    def token(self, draft: Draft, token: Token) -> bytes:
        """The events of one token. A call is told when it is whole."""
        events = self._begin() if not self._sequence else []
        for piece in self._read(token, last=draft.reason is not None):
            events += self._call(piece) if isinstance(piece, Call) else self._text(piece)
        return b"".join(events)

    def complete(self, draft: Draft) -> None:
        """Everything was sampled: bring the response to its final state."""
        if not self._sequence:  # not streamed
            self._sequence = 1
            for token in draft.tokens:
                for piece in self._read(token, last=token.stop is not None):
                    _ = self._call(piece) if isinstance(piece, Call) else self._text(piece)
        whole = draft.reason != "length"
        status: Status = "completed" if whole else "incomplete"
        if not self.response.output:  # silence is an answer, too
            self._tail += self._text("")
        self._tail += self._end_message(status)
        prompt, completion = len(draft.prompt_ids), len(draft.tokens)
        self.response = msgspec.structs.replace(
            self.response,
            status=status,
            usage=ResponseUsage(prompt, completion, prompt + completion, **cost_of([draft])),
            incomplete_details=None if whole else IncompleteDetails("max_output_tokens"),
        )

    def end(self, drafts: Sequence[Draft]) -> bytes:
        kind = "completed" if self.response.status == "completed" else "incomplete"
        return b"".join(self._tail) + self._event(f"response.{kind}", response=self.response)

    def broken(self, error: ApiError) -> bytes:
        self.response = failed(self.response, error)
        return b"".join(self._tail) + self._event("response.failed", response=self.response)

    def _read(self, token: Token, *, last: bool) -> list[Said]:
        if self._logprobs:
            self._tokens.append(token)
        if self._reader is None:
            return [token.text] if token.text else []
        return self._reader.push(token) + (self._reader.finish() if last else [])

    def _begin(self) -> list[bytes]:
        return [
            self._event("response.created", response=self.response),
            self._event("response.in_progress", response=self.response),
        ]

    def _text(self, text: str) -> list[bytes]:
        events: list[bytes] = []
        if self._message is None:
            part = OutputText("", [], [])
            self._message = OutputMessage(make_id("msg"), "in_progress", [])
            place = len(self.response.output)
            self.response.output.append(self._message)
            events.append(self._event("response.output_item.added", place, item=self._message))
            self._message.content.append(part)
            events.append(self._part_event("response.content_part.added", part=part))
        part = self._message.content[0]
        part.text += text
        logprobs = told(self._tokenizer, self._tokens)
        self._tokens = []
        part.logprobs.extend(logprobs)
        if text:
            events.append(
                self._part_event("response.output_text.delta", delta=text, logprobs=logprobs)
            )
        return events

    def _end_message(self, status: Status) -> list[bytes]:
        message, self._message = self._message, None
        if message is None:
            return []
        part = message.content[0]
        part.logprobs.extend(told(self._tokenizer, self._tokens))
        self._tokens = []
        message.status = status
        place = len(self.response.output) - 1
        where = {"item_id": message.id, "content_index": 0}
        return [
            self._event(
                "response.output_text.done", place, text=part.text, logprobs=part.logprobs, **where
            ),
            self._event("response.content_part.done", place, part=part, **where),
            self._event("response.output_item.done", place, item=message),
        ]

    def _call(self, call: Call) -> list[bytes]:
        events = self._end_message("completed")
        self._tokens = []
        offer = self._offers[call.name]
        space = offer.namespace or msgspec.UNSET
        if offer.custom:
            custom = OutputCustomCall(make_id("ctc"), call.id, offer.name, "", "in_progress", space)
            text = offer.text(call)
            return events + self._called(custom, "custom_tool_call_input", "input", text)
        item = OutputCall(make_id("fc"), call.id, offer.name, "", "in_progress", space)
        return events + self._called(
            item, "function_call_arguments", "arguments", call.arguments, name=offer.name
        )

    def _called(
        self, item: OutputCall | OutputCustomCall, kind: str, member: str, text: str, **more: str
    ) -> list[bytes]:
        """The events of a call whose ``member`` gets ``text``; the closing one tells ``more``."""
        place = len(self.response.output)
        self.response.output.append(item)
        added = self._event("response.output_item.added", place, item=item)
        setattr(item, member, text)
        item.status = "completed"
        told = {member: text, "item_id": item.id, **more}
        return [
            added,
            self._event(f"response.{kind}.delta", place, delta=text, item_id=item.id),
            self._event(f"response.{kind}.done", place, **told),
            self._event("response.output_item.done", place, item=item),
        ]

    def _part_event(self, type: str, **members: Any) -> bytes:
        assert self._message is not None
        place = len(self.response.output) - 1
        return self._event(type, place, item_id=self._message.id, content_index=0, **members)

    def _event(self, type: str, place: int | None = None, **members: Any) -> bytes:
        where = {} if place is None else {"output_index": place}
        body = {"type": type, "sequence_number": self._sequence, **where, **members}
        self._sequence += 1
        return b"event: " + type.encode() + b"\ndata: " + msgspec.json.encode(body) + b"\n\n"
