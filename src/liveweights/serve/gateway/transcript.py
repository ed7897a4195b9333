"""Reading an answer as it passes: text, tokens, usage, from whole answers and from events."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from liveweights.http.surrogates import without_halves
from liveweights.serve.gateway.events import DONE


class Unreadable(ValueError):
    """The answer is not in OpenAI's dialect."""


class _Call(msgspec.Struct):
    """``custom`` is of a tool that takes a free text."""

    index: int | None = None
    id: Any = None
    function: Any = None
    custom: Any = None

    def pieces(self) -> Any:
        """The name, and what it is called with as ``arguments``."""
        if not isinstance(self.custom, dict):
            return self.function
        return {"name": self.custom.get("name"), "arguments": self.custom.get("input")}


class _Message(msgspec.Struct):
    """``reasoning_content`` is what DeepSeek, SGLang and llama.cpp call it, ``reasoning`` what vLLM
    and OpenRouter do."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    audio: Any = None
    tool_calls: list[_Call] | None = None


class _Entry(msgspec.Struct):
    """One token's log-probability; ``id`` as llama.cpp gives it."""

    logprob: float
    token: str = ""
    id: int | None = None


class _Logprobs(msgspec.Struct):
    content: list[_Entry] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    text: str | None = None
    delta: _Message | None = None
    message: _Message | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None
    token_ids: list[int] | None = None
    prompt_token_ids: list[int] | None = None


class _Item(msgspec.Struct):
    """One item of a response's output."""

    id: Any = None
    type: Any = None
    content: Any = None
    summary: Any = None
    name: Any = None
    arguments: Any = None
    input: Any = None


class _Response(msgspec.Struct):
    """The answer of ``/v1/responses``."""

    id: Any = None
    model: str | None = None
    system_fingerprint: Any = None
    status: str | None = None
    output: list[_Item] | None = None
    usage: dict[str, Any] | None = None


class _Answer(_Response):
    """Any whole answer, and any event."""

    choices: list[_Choice] = []
    prompt_token_ids: list[int] | None = None
    type: str | None = None
    delta: Any = None
    response: _Response | None = None


_Pieces = dict[str, list[str]]
"""The name and the arguments of a call, as they came."""

_decode = msgspec.json.Decoder(_Answer).decode
_USAGE = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}
_DETAILS = ("cached_tokens", "reasoning_tokens")
"""Counts that stand in objects of their own, such as ``prompt_tokens_details``."""
_OURS = ("requests", "sent_tokens")
"""Names of the record, which mean something else where an upstream has them."""
_ANSWERING = "response.output_text.delta"
_THINKING = ("response.reasoning_text.delta", "response.reasoning_summary_text.delta")
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""Types of items that are calls, and which member says what with."""
_STATUS = {"completed": "stop", "incomplete": "length"}

CHOICES = 128
"""The most of one answer that are kept apart, OpenAI's own limit of ``n``. A list of prompts has as
many as it likes."""
LONGEST = 1 << 24
"""Bytes of an answer that are kept at most; of what follows is known how much was used."""
_MENDED = 16
_USED = b'"usage"'
"""A member's name: within a text its quotes would have backslashes before them."""
_WINDOW = 1 << 12
_members = json.JSONDecoder()


@dataclass(slots=True)
class Said:
    """One choice. ``ids`` and ``raw_logprobs`` [T] are empty where the upstream gave none."""

    parts: list[str] = field(default_factory=list[str])
    thoughts: list[str] = field(default_factory=list[str])
    calls: dict[int, _Pieces] = field(default_factory=dict[int, _Pieces])
    open: dict[int, tuple[str, int]] = field(default_factory=dict[int, tuple[str, int]])
    """By the upstream's index of a call: its id, and which of ``calls`` it is."""
    ids: list[int] = field(default_factory=list[int])
    raw_logprobs: list[float] = field(default_factory=list[float])
    reason: str | None = None

    @property
    def begun(self) -> bool:
        """Whether anything of it has come."""
        return bool(self.reason is not None or self.parts or self.thoughts or self.calls)

    def text(self) -> str:
        """What the user saw; calls of tools follow it as JSON."""
        text = "".join(self.parts)
        if not self.calls:
            return text
        calls = [
            {name: "".join(pieces) for name, pieces in self.calls[place].items()}
            for place in sorted(self.calls)
        ]
        return text + msgspec.json.encode({"tool_calls": calls}).decode()

    def reasoning(self) -> str:
        """What was thought before, which the upstream tells apart."""
        return "".join(self.thoughts)

    def join(self, index: int, id: Any, pieces: Any) -> None:
        """Pieces of a call. Some upstreams give each call the same index: another id is another
        call, and pieces without one go on with the last."""
        known, place = self.open.get(index, ("", len(self.calls)))
        if isinstance(id, str) and id and id != known:
            known, place = id, len(self.calls) if known else place
        self.open[index] = known, place
        _join(self.calls, place, pieces)

    def tokens(self) -> tuple[list[int], list[float]]:
        """Ids and raw log-probabilities, the latter only where every token has one."""
        if len(self.raw_logprobs) != len(self.ids):
            return self.ids, []
        return self.ids, self.raw_logprobs


class Transcript:
    """What has been said so far. Raises Unreadable for what is not understood."""

    __slots__ = (
        *("choices", "done", "fingerprint", "id", "items", "model", "prompt_ids", "rest", "size"),
        *("unfit", "usage", "_held"),
    )

    def __init__(self) -> None:
        self.choices: dict[int, Said] = {}
        self.rest = Said()
        """All choices beyond ``CHOICES``, as one: they are counted and not recorded."""
        self.id: str | None = None
        """The upstream's, of the whole answer."""
        self.items: list[str] = []
        """Ids of a response's items, and of what was spoken."""
        self.size = 0
        """Bytes read."""
        self.unfit: list[str] = []
        """Members that were left out because they are not of their type."""
        self.usage: dict[str, int] = {}
        self.model: str | None = None
        self.fingerprint: str | None = None
        """OpenAI's ``system_fingerprint``."""
        self.prompt_ids: list[int] = []
        self._held = b""
        self.done = False
        """Whether the upstream has said all that it wants to."""

    @property
    def said(self) -> list[Said]:
        """All that counts."""
        rest = [self.rest] if self.rest.begun or self.rest.ids else []
        return [*self.choices.values(), *rest]

    def add_event(self, data: bytes) -> None:
        """The data of one event."""
        if data == DONE:
            self.done = True
        else:
            self._add(data)

    def add_whole(self, body: bytes) -> None:
        """An answer that is not streamed."""
        self._add(body)
        self.done = True

    def _add(self, data: bytes) -> None:
        self.size += len(data)
        try:
            answer = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            answer = self._mended(data, error)
        if self.size > LONGEST:
            self._count(answer)
            return
        for choice in answer.choices:
            self._choice(choice)
        if answer.prompt_token_ids:
            self.prompt_ids = answer.prompt_token_ids
        if answer.type == _ANSWERING and isinstance(answer.delta, str):
            self._said(0).parts.append(answer.delta)
        elif answer.type in _THINKING and isinstance(answer.delta, str):
            self._said(0).thoughts.append(answer.delta)
        elif answer.response is not None:
            self._response(answer.response, ended=answer.response.status in _STATUS)
        elif answer.output or answer.status in _STATUS:
            self._response(answer, ended=True)
        else:
            self._facts(answer)

    def skim(self, part: bytes) -> None:
        """A part of a whole answer that is too long to be read: what it says of what was used."""
        self._note("output")
        window = self._held + part
        self._held = window[-_WINDOW:]
        _, named, rest = window.rpartition(_USED)
        if named:
            text = rest[:_WINDOW].decode(errors="replace").lstrip().removeprefix(":").lstrip()
            try:
                usage, _ = _members.raw_decode(text)
            except (ValueError, RecursionError):
                return  # its end may come with the next part
            self._facts(_Response(usage=usage if isinstance(usage, dict) else None))

    def _note(self, member: str) -> None:
        if member not in self.unfit:
            self.unfit.append(member)

    def _count(self, answer: _Answer) -> None:
        """What is said of an answer that is too long to be kept further."""
        self._note("output")
        for choice in answer.choices:
            said = self._said(choice.index)
            said.reason = choice.finish_reason or said.reason
        whole = answer if answer.response is None else answer.response
        self._facts(whole)
        if (reason := _STATUS.get(whole.status or "")) is not None:
            self._said(0).reason = reason
            self.done = True

    def _mended(self, data: bytes, error: Exception) -> _Answer:
        """Without the members that are not of their type, numbers that are none and characters
        that are half; what was said matters more."""
        text = without_halves(data).decode(errors="replace")
        try:
            value = json.loads(text, parse_constant=_nothing)
        except (ValueError, RecursionError) as worse:
            raise Unreadable(str(error)) from worse
        for _ in range(_MENDED):
            try:
                return msgspec.convert(value, _Answer)
            except msgspec.ValidationError as wrong:
                place = _remove(value, str(wrong))
                if place is None:
                    raise Unreadable(str(wrong)) from wrong
                self.unfit.append(place)
        raise Unreadable(str(error)) from error

    def _said(self, index: int) -> Said:
        said = self.choices.get(index)
        if said is None:
            if not 0 <= index < CHOICES:
                self._note("choices")
                return self.rest
            said = self.choices[index] = Said()
        return said

    def _facts(self, answer: _Response) -> None:
        self.model = answer.model or self.model
        if isinstance(answer.system_fingerprint, str):
            self.fingerprint = answer.system_fingerprint
        if self.id is None and isinstance(answer.id, str):
            self.id = answer.id
        if answer.usage:
            for name, value in answer.usage.items():
                if type(value) is int and name.isidentifier() and name not in _OURS:
                    self.usage[_USAGE.get(name, name)] = value
                elif isinstance(value, dict) and name.endswith("_tokens_details"):
                    details = cast(dict[str, Any], value).items()
                    self.usage |= {n: v for n, v in details if n in _DETAILS and type(v) is int}

    def _choice(self, choice: _Choice) -> None:
        said = self._said(choice.index)
        said.reason = choice.finish_reason or said.reason
        if choice.text:
            said.parts.append(choice.text)
        message = choice.delta or choice.message
        if message is not None:
            if isinstance(message.content, str):  # nearly always
                if message.content:
                    said.parts.append(message.content)
            else:
                said.parts.extend(_texts(message.content))
            if thought := message.reasoning_content or message.reasoning:
                said.thoughts.extend(_texts(thought))
            if message.audio:
                self._spoken(message.audio)
            if message.tool_calls:
                for place, call in enumerate(message.tool_calls):
                    index = place if call.index is None else call.index
                    said.join(index, call.id, call.pieces())
        if choice.prompt_token_ids:
            self.prompt_ids = choice.prompt_token_ids
        ids = choice.token_ids
        if choice.logprobs:
            found, values = _scored(choice.logprobs)
            said.raw_logprobs.extend(values)
            ids = ids or found
        if ids:
            said.ids.extend(ids)

    def _spoken(self, audio: Any) -> None:
        id = audio.get("id") if isinstance(audio, dict) else None
        if isinstance(id, str) and id not in self.items:
            self.items.append(id)

    def _response(self, response: _Response, *, ended: bool) -> None:
        self._facts(response)
        if not ended:
            return
        said = self._said(0)
        said.parts, said.thoughts, said.calls = [], [], {}  # what came in pieces is here, whole
        for item in response.output or ():
            if isinstance(item.id, str):
                self.items.append(item.id)
            if item.type == "message":
                said.parts.extend(_texts(item.content))
            elif item.type == "reasoning":
                said.thoughts.extend(_texts(item.content) or _texts(item.summary))
            elif isinstance(item.type, str) and (member := _CALLS.get(item.type)):
                call = {"name": item.name, "arguments": getattr(item, member)}
                _join(said.calls, len(said.calls), call)
        said.reason = _STATUS.get(response.status or "", "stop")
        self.done = True


def _nothing(constant: str) -> None:
    """In place of Python's ``NaN`` and ``Infinity``."""


def _texts(content: Any) -> list[str]:
    """The text of a message, which may be in parts."""
    if isinstance(content, str):
        return [content] if content else []
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return [text for text in texts if isinstance(text, str)]


def _join(calls: dict[int, _Pieces], place: int, pieces: Any) -> None:
    if not isinstance(pieces, dict):
        return
    call = calls.setdefault(place, {"name": [], "arguments": []})
    for name, parts in call.items():
        if isinstance(piece := pieces.get(name), str):
            parts.append(piece)


def _scored(logprobs: _Logprobs) -> tuple[list[int], list[float]]:
    """Token ids, where they are given, and log-probabilities."""
    if logprobs.content is not None:
        ids = [_id(entry.token) if entry.id is None else entry.id for entry in logprobs.content]
        values = [entry.logprob for entry in logprobs.content]
    else:
        ids = [_id(token) for token in logprobs.tokens or ()]
        values = [value for value in logprobs.token_logprobs or () if value is not None]
    known = [id for id in ids if id is not None]
    return (known if len(known) == len(ids) else []), values


def _id(token: str) -> int | None:
    """Of vLLM's and SGLang's ``token_id:17``."""
    head, _, number = token.partition("token_id:")
    return int(number) if not head and number.isdecimal() and len(number) < 20 else None


_PLACE = re.compile(r" - at `\$\.(choices\[\d+\]\.)?([\w.]+)")


def _remove(value: Any, complaint: str) -> str | None:
    """Take the member out that a validator complains of, the whole of a list for one of its
    elements; its place, or None where nothing can be taken out."""
    found = _PLACE.search(complaint)
    if found is None or found[2] in ("index", "choices"):
        return None
    names = found[2].split(".")
    if found[1]:
        value = value["choices"][int(found[1][len("choices[") : -len("].")])]
    for name in names[:-1]:
        value = value[name]
    del value[names[-1]]
    return found[2]
