"""A response on the wire: whole, or as the events that put it together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from liveweights.agent.calls import Outcome
from liveweights.agent.decision import End
from liveweights.engines.protocol import Token
from liveweights.http.errors import ApiError
from liveweights.serve.api.answer import cost_of
from liveweights.serve.api.draft import Draft
from liveweights.serve.api.identifiers import item_of, make_id
from liveweights.serve.api.logprobs import told
from liveweights.serve.api.offers import Offer, read_argument
from liveweights.serve.api.parts import Part
from liveweights.serve.api.responses.objects import (
    CodeLogs,
    ExecutionError,
    IncompleteDetails,
    ListedTool,
    OutputCall,
    OutputCode,
    OutputCustomCall,
    OutputDetails,
    OutputMessage,
    OutputReasoning,
    OutputServedCall,
    OutputText,
    OutputToolList,
    ReasoningText,
    Response,
    ResponseUsage,
    Status,
    SummaryText,
    failed,
)
from liveweights.serve.api.responses.served import Kit
from liveweights.serve.api.syntax.protocol import Call, Thought
from liveweights.serve.api.tokenization import Tokenizer
from liveweights.serve.api.toolbox import Toolbox

ServedItem = OutputToolList | OutputServedCall | OutputCode


@dataclass(frozen=True, slots=True)
class ServedCall:
    """A call that the model asks the server to make; ``place`` is where its item is."""

    item: OutputServedCall | OutputCode
    place: int
    offer: Offer
    arguments: str


class ResponseShape:
    """``logprobs`` says whether those of the text are told; ``summarised``, whether what is thought
    is told as a summary. There is no other model that would shorten it. ``code`` are the sets whose
    calls are told as programs, not as those of a server."""

    def __init__(
        self,
        response: Response,
        tokenizer: Tokenizer,
        toolbox: Toolbox,
        *,
        logprobs: bool,
        summarised: bool = False,
        code: Sequence[str] = (),
    ) -> None:
        self._offers = toolbox.offers
        self.response = response
        self._tokenizer = tokenizer
        self._reader = toolbox.reader()
        self._logprobs = logprobs
        self._sequence = 0
        self._message: OutputMessage | None = None
        self._summarised = summarised
        self._reasoning: OutputReasoning | None = None
        self._tokens: list[Token] = []
        self._pieces: list[str] = []
        """Of the message or the reasoning that is not whole yet, what its item does not have."""
        self._tail: list[bytes] = []
        self._code = code
        self._waiting: list[ServedCall] = []
        self.asked_client = False
        """Whether the client is to make a call before this can go on."""

    def whole(self, drafts: Sequence[Draft]) -> bytes:
        return msgspec.json.encode(self.response)

    def token(self, draft: Draft, token: Token) -> bytes:
        """The events of one token. A call is told when it is whole."""
        events = self.begin() if not self._sequence else []
        for piece in self._read(token, last=draft.reason is not None):
            events += self._tell(piece)
        return b"".join(events)

    def complete(self, draft: Draft) -> None:
        """Everything was sampled: bring the response to its final state."""
        if not self._sequence:  # not streamed
            self._sequence = 1
            self.read(draft)
        self.finish([draft], None if draft.reason != "length" else "max_output_tokens")

    def read(self, draft: Draft) -> None:
        """A draft that was sampled, and not streamed."""
        for token in draft.tokens:
            for piece in self._read(token, last=token.stop is not None):
                self._tell(piece)

    def finish(self, drafts: Sequence[Draft], end: End | None) -> None:
        """The same after several steps; ``end`` is the bound that ended them, if one did."""
        status: Status = "incomplete" if end else "completed"
        self._tail += self._end_reasoning(status)
        if self._is_silent(end):
            self._tail += self._text("")  # silence is an answer, too
        self._tail += self._end_message(status)
        prompt = sum(len(draft.prompt_ids) for draft in drafts)
        completion = sum(len(draft.tokens) for draft in drafts)
        thought = sum(draft.thought_tokens for draft in drafts)
        self.response = msgspec.structs.replace(
            self.response,
            generation=drafts[-1].id,
            status=status,
            usage=ResponseUsage(
                prompt,
                completion,
                prompt + completion,
                output_tokens_details=OutputDetails(thought),
                **cost_of(drafts),
            ),
            incomplete_details=IncompleteDetails(end) if end else None,
        )

    def _is_silent(self, end: End | None) -> bool:
        """Whether nothing but what was thought came after the last call that the server made, and
        nothing else is waited for."""
        output = self.response.output
        since = len(output)
        while since and not isinstance(output[since - 1], ServedItem):
            since -= 1
        rest = output[since:]
        if not rest and output:
            return end is None and not self.asked_client
        return all(isinstance(item, OutputReasoning) for item in rest)

    def list_tools(self, kit: Kit) -> list[bytes]:
        """The events that tell which tools of a set the model has."""
        item = OutputToolList(self._make_id("mcpl"), kit.served.label, [])
        place = len(self.response.output)
        self.response.output.append(item)
        kind = "response.mcp_list_tools"
        events = [
            self._event("response.output_item.added", place, item=item),
            self._event(f"{kind}.in_progress", place, item_id=item.id),
        ]
        item.tools = [ListedTool(t.name, t.description, t.parameters) for t in kit.tools]
        item.error = kit.told
        end = "completed" if kit.toolset else "failed"
        return [
            *events,
            self._event(f"{kind}.{end}", place, item_id=item.id),
            self._event("response.output_item.done", place, item=item),
        ]

    def begin_step(self, toolbox: Toolbox, draft: Draft) -> None:
        """What is sampled next is another answer of the model."""
        self._offers = toolbox.offers
        self._reader = toolbox.reader()
        self._tokens = []
        self.response = msgspec.structs.replace(self.response, generation=draft.id)

    def end_step(self, draft: Draft) -> list[bytes]:
        """That answer is whole; the calls that it asks for are ``take_calls``'s."""
        status: Status = "completed" if draft.reason != "length" else "incomplete"
        return [*self._end_reasoning(status), *self._end_message(status)]

    @property
    def has_calls(self) -> bool:
        """Whether there are calls that wait to be made here."""
        return bool(self._waiting)

    def take_calls(self) -> list[ServedCall]:
        """The calls that wait to be made, in their order."""
        calls, self._waiting = self._waiting, []
        return calls

    def called(self, call: ServedCall, outcome: Outcome) -> list[bytes]:
        """The events of a call that was made."""
        item, place = call.item, call.place
        item.status = "failed" if outcome.failed else "completed"
        if isinstance(item, OutputCode):
            item.outputs = [CodeLogs(outcome.output)]
            kind = "response.code_interpreter_call.completed"
        else:
            kind = f"response.mcp_call.{item.status}"
            if outcome.failed:
                item.error = ExecutionError(outcome.output)
            else:
                item.output = outcome.output
        return [
            self._event(kind, place, item_id=item.id),
            self._event("response.output_item.done", place, item=item),
        ]

    def end(self, drafts: Sequence[Draft]) -> bytes:
        kind = "completed" if self.response.status == "completed" else "incomplete"
        return b"".join(self._tail) + self._event(f"response.{kind}", response=self.response)

    def broken(self, error: ApiError) -> bytes:
        self._gather()
        self.response = failed(self.response, error)
        return b"".join(self._tail) + self._event("response.failed", response=self.response)

    def _make_id(self, prefix: str) -> str:
        """Of the item that comes next."""
        return item_of(self.response.id, prefix, len(self.response.output))

    def _tell(self, piece: Part) -> list[bytes]:
        match piece:
            case Thought():
                return self._think(piece.text)
            case Call():
                return [*self._end_reasoning("completed"), *self._call(piece)]
            case _:
                return [*self._end_reasoning("completed"), *self._text(piece)]

    def _think(self, text: str) -> list[bytes]:
        events: list[bytes] = []
        if self._reasoning is None:
            events += self._end_message("completed")
            item = self._reasoning = OutputReasoning(self._make_id("rs"), "in_progress", [])
            self.response.output.append(item)
            place = len(self.response.output) - 1
            events.append(self._event("response.output_item.added", place, item=item))
            if self._summarised:
                item.summary.append(SummaryText(""))
            else:
                item.content = [ReasoningText("")]
            events.append(self._thought_part("added"))
        self._pieces.append(text)
        return [*events, self._thought_event("delta", delta=text)]

    def _end_reasoning(self, status: Status) -> list[bytes]:
        if self._reasoning is None:
            return []
        self._gather()
        self._tokens = []  # logprobs are of the text
        self._reasoning.status = status
        place = len(self.response.output) - 1
        events = [
            self._thought_event("done", text=self._thought().text),
            self._thought_part("done"),
            self._event("response.output_item.done", place, item=self._reasoning),
        ]
        self._reasoning = None
        return events

    def _thought(self) -> SummaryText | ReasoningText:
        assert self._reasoning is not None
        content = self._reasoning.content
        return self._reasoning.summary[0] if isinstance(content, msgspec.UnsetType) else content[0]

    def _thought_part(self, what: str) -> bytes:
        kind = "reasoning_summary_part" if self._summarised else "content_part"
        return self._about_thought(f"response.{kind}.{what}", part=self._thought())

    def _thought_event(self, what: str, **members: str) -> bytes:
        kind = "reasoning_summary_text" if self._summarised else "reasoning_text"
        return self._about_thought(f"response.{kind}.{what}", **members)

    def _about_thought(self, type: str, **members: Any) -> bytes:
        assert self._reasoning is not None
        index = "summary_index" if self._summarised else "content_index"
        where = {"item_id": self._reasoning.id, index: 0}
        return self._event(type, len(self.response.output) - 1, **where, **members)

    def _read(self, token: Token, *, last: bool) -> list[Part]:
        if self._logprobs:
            self._tokens.append(token)
        return self._reader.push(token) + (self._reader.finish() if last else [])

    def begin(self) -> list[bytes]:
        return [
            self._event("response.created", response=self.response),
            self._event("response.in_progress", response=self.response),
        ]

    def _text(self, text: str) -> list[bytes]:
        events: list[bytes] = []
        if self._message is None:
            part = OutputText("", [], [])
            self._message = OutputMessage(self._make_id("msg"), "in_progress", [])
            place = len(self.response.output)
            self.response.output.append(self._message)
            events.append(self._event("response.output_item.added", place, item=self._message))
            self._message.content.append(part)
            events.append(self._part_event("response.content_part.added", part=part))
        part = self._message.content[0]
        self._pieces.append(text)
        logprobs = told(self._tokenizer, self._tokens)
        self._tokens = []
        part.logprobs.extend(logprobs)
        if text:
            events.append(
                self._part_event("response.output_text.delta", delta=text, logprobs=logprobs)
            )
        return events

    def _gather(self) -> None:
        """Bring the item to what was told so far: once, not with each token."""
        text, self._pieces = "".join(self._pieces), []
        if self._reasoning is not None:
            self._thought().text += text
        elif self._message is not None:
            self._message.content[0].text += text

    def _end_message(self, status: Status) -> list[bytes]:
        self._gather()
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
        if offer.server is not None:
            return events + self._serve(call, offer)
        self.asked_client = True
        space = offer.namespace or msgspec.UNSET
        if offer.custom:
            custom = OutputCustomCall(
                self._make_id("ctc"), call.id, offer.name, "", "in_progress", space
            )
            text = offer.text(call)
            return events + self._called(custom, "custom_tool_call_input", "input", text)
        item = OutputCall(self._make_id("fc"), call.id, offer.name, "", "in_progress", space)
        return events + self._called(
            item, "function_call_arguments", "arguments", call.arguments, name=offer.name
        )

    def _serve(self, call: Call, offer: Offer) -> list[bytes]:
        """The events of a call that the server is to make."""
        place, generation = len(self.response.output), self.response.generation
        assert offer.server is not None
        if offer.server in self._code:
            code = read_argument(call, "code")
            item = OutputCode(self._make_id("ci"), "", make_id("cntr"), "in_progress", generation)
            kind, member, text = "code_interpreter_call", "code", code
        else:
            item = OutputServedCall(
                self._make_id("mcp"), offer.server, offer.name, "", "in_progress", generation
            )
            kind, member, text = "mcp_call", "arguments", call.arguments
        self.response.output.append(item)
        self._waiting.append(ServedCall(item, place, offer, call.arguments))
        events = [
            self._event("response.output_item.added", place, item=item),
            self._event(f"response.{kind}.in_progress", place, item_id=item.id),
        ]
        setattr(item, member, text)
        written = f"response.{kind}_{member}"
        events += [
            self._event(f"{written}.delta", place, delta=text, item_id=item.id),
            self._event(f"{written}.done", place, item_id=item.id, **{member: text}),
        ]
        if isinstance(item, OutputCode):
            events.append(self._event(f"response.{kind}.interpreting", place, item_id=item.id))
        return events

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
