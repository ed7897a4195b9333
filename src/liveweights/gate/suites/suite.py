"""What a suite is: a card, cases, and a way to attempt one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

import msgspec

from liveweights import bounds

Message = dict[str, str]


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a suite says about itself. Results of different versions are not comparable.

    ``harness`` is how a case is put: questions (one answer is scored), terminal (an agent works
    on it), inspect (Inspect runs it). ``samples`` answers per case are averaged. ``seconds``
    bounds one attempt. ``margin`` is the loss of mean score, in [0, 1], that is no harm. Where
    cases are ``private``, of users, only scores are kept.
    """

    name: str
    version: str
    title: str
    licence: str
    source: str = ""
    harness: Literal["questions", "terminal", "inspect"] = "questions"
    samples: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 1
    seconds: Annotated[float, msgspec.Meta(gt=0, le=bounds.SECONDS)] = 60.0
    margin: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.05
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] = 0.0
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=bounds.COUNT)] = 256
    private: bool = False


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One task. ``prompt`` is text or token ids to continue, else ``messages`` are answered.

    ``target`` is what the scorer needs. Cases of one ``group`` may depend on one another.
    """

    id: str
    prompt: str | list[int] | None = None
    messages: list[Message] | None = None
    target: Any = None
    group: str | None = None
    stop: list[str] = []
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=bounds.COUNT)] | None = None


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one try; ``score`` is in [0, 1]."""

    score: float
    answer: str
    detail: str = ""
    seconds: float = 0.0


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """``arguments`` is what the model wrote: the JSON text of an object, if it is well-formed."""

    id: str
    name: str
    arguments: str


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A turn of a chat with tools: a text, calls, or both."""

    text: str
    calls: tuple[ToolCall, ...] = ()


class Model(Protocol):
    """One checkpoint behind the public API."""

    @property
    def name(self) -> str: ...

    async def complete(
        self,
        prompt: str | list[int],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
        stop: Sequence[str] = (),
    ) -> str: ...

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
        stop: Sequence[str] = (),
    ) -> str: ...

    async def use_tools(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
    ) -> Reply:
        """A turn of a chat in which the model may call ``tools``; both as OpenAI writes them."""
        ...


class Suite(Protocol):
    """Cases in a fixed order, each attempted as often as wished."""

    @property
    def card(self) -> Card: ...

    def cases(self) -> Sequence[Case]: ...

    def content(self) -> bytes:
        """What scores depend on beside the card, the cases and liveweights itself: scorers and
        files that somebody wrote."""
        ...

    async def attempt(self, case: Case, model: Model, seed: int) -> Attempt: ...

    async def close(self) -> None: ...


class SuiteError(ValueError):
    """A suite cannot be used; the message says what is wrong with it, where, and what to do."""


class NothingMeasured(SuiteError):
    """A suite can be used, but not with this service, or not in the time given."""
