"""Whether a model that uses tools goes on: the bounds of one response, and where they end it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

End = Literal["max_output_tokens", "max_time", "max_cost", "max_tool_calls"]
"""The bound at which a response ends before the model has ended it."""
Move = Literal["act", "conclude"]
"""What the next step is: with tools, or the last one, without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Of one response: its answers of the model, calls, calls that are the same, tokens and costs
    in billionths of the currency; ``ends`` is in the clock's seconds."""

    steps: int
    calls: int
    repeats: int
    tokens: int
    nanos: int | None
    ends: float


@dataclass(slots=True)
class Spent:
    """What a response has used so far."""

    steps: int = 0
    calls: int = 0
    tokens: int = 0
    nanos: int = 0
    seen: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """How often each call, by name and arguments, was made."""

    def count(self, name: str, arguments: str) -> None:
        self.calls += 1
        self.seen[name, arguments] += 1

    @property
    def most_repeated(self) -> int:
        return max(self.seen.values(), default=0)


def refuse_call(bounds: Bounds, spent: Spent, name: str, arguments: str) -> str | None:
    """Why a call is not made; None where it is."""
    if spent.calls >= bounds.calls:
        return f"no more than {bounds.calls} calls are made for one response"
    if spent.seen[name, arguments] >= bounds.repeats:
        return f"the same call was made {bounds.repeats} times already; its answer is above"
    return None


def next_move(bounds: Bounds, spent: Spent, now: float) -> Move | End:
    """What follows once the calls of a step were made.

    Where tokens, time or money are used up there is no further step. Where steps or calls are, or
    the same call comes again and again, there is one without tools: the model can still say what
    it knows.
    """
    if spent.tokens >= bounds.tokens:
        return "max_output_tokens"
    if now >= bounds.ends:
        return "max_time"
    if bounds.nanos is not None and spent.nanos >= bounds.nanos:
        return "max_cost"
    last = spent.steps + 1 >= bounds.steps
    if last or spent.calls >= bounds.calls or spent.most_repeated >= bounds.repeats:
        return "conclude"
    return "act"


LAST = "[No further tool can be called. Answer with what is known.]"


def tell_last(output: str) -> str:
    """What a call gave, where the next step is the last one: the model is told so."""
    return f"{output}\n\n{LAST}"
