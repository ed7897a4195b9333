"""Suites of calls: a question and tools, and which calls are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from liveweights.gate.suites.suite import Attempt, Card, Case, Model, ToolCall

Expected = Mapping[str, Mapping[str, Sequence[Any]]]
"""One call: the function's name to what each argument may be. An argument that may be ``""`` may be
left out, and a key of an object, too (as the Berkeley Function-Calling Leaderboard writes it)."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """``expected`` calls in any order; none at all where no tool fits. Questions of one ``group``
    are alike."""

    id: str
    messages: list[dict[str, str]]
    tools: list[dict[str, Any]]
    expected: list[dict[str, dict[str, list[Any]]]]
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Calls:
    """One turn is asked for, and its calls are compared by name and arguments."""

    card: Card
    questions: Mapping[str, Question]

    def cases(self) -> Sequence[Case]:
        return [
            Case(id=one.id, messages=one.messages, target=one.expected, group=one.group)
            for one in self.questions.values()
        ]

    def content(self) -> bytes:
        return msgspec.json.encode([one.tools for one in self.questions.values()])

    async def attempt(self, case: Case, model: Model, seed: int) -> Attempt:
        question = self.questions[case.id]
        reply = await model.use_tools(
            question.messages,
            question.tools,
            max_tokens=self.card.max_tokens,
            temperature=self.card.temperature,
            seed=seed,
        )
        why = find_fault(reply.calls, question.expected)
        answer = "; ".join(f"{call.name}({call.arguments})" for call in reply.calls) or reply.text
        return Attempt(score=float(why is None), answer=answer, detail=why or "")

    async def close(self) -> None:
        pass


def find_fault(calls: Sequence[ToolCall], expected: Sequence[Expected]) -> str | None:
    """What is wrong with ``calls``, in words; None where each is one that is expected, and all of
    these are there."""
    if len(calls) != len(expected):
        return f"{len(calls)} calls where {len(expected)} are right"
    left = list(expected)
    for call in calls:
        faults = [_compare(call, one) for one in left]
        if None not in faults:
            return next(fault for fault in faults if fault)
        del left[faults.index(None)]
    return None


def _compare(call: ToolCall, expected: Expected) -> str | None:
    ((name, allowed),) = expected.items()
    if call.name != name:
        return f"{call.name} is called, not {name}"
    try:
        arguments = msgspec.json.decode(call.arguments or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):  # a model in a loop opens brackets without end
        return f"{name}: the arguments are no JSON object"
    if unknown := sorted(set(arguments) - set(allowed)):
        return f"{name} has no argument {unknown[0]}"
    for argument, values in allowed.items():
        if argument not in arguments:
            if "" not in values:
                return f"{name}: {argument} is missing"
        elif not any(_equal(arguments[argument], value) for value in values):
            return f"{name}: {argument} is {arguments[argument]!r}"
    return None


def _equal(given: object, value: object) -> bool:
    """As values; texts but for case, blanks and punctuation (BFCL's ``standardize_string``)."""
    match given, value:
        case (str(), str()):
            return _plain(given) == _plain(value)
        case (bool(), _) | (_, bool()):
            return given is value
        case (int() | float(), int() | float()):
            return given == value
        case (list(), list()):
            ours, theirs = cast(list[object], given), cast(list[object], value)
            return len(ours) == len(theirs) and all(map(_equal, ours, theirs))
        case (dict(), dict()):
            mine, other = cast(dict[str, Any], given), cast(dict[str, Any], value)
            # Within an object, too, each value is a list of those that are right.
            return mine.keys() <= other.keys() and all(
                any(_equal(mine[key], one) for one in _options(right))
                if key in mine
                else "" in _options(right)
                for key, right in other.items()
            )
        case _:
            return given == value


def _options(value: object) -> Sequence[object]:
    return cast(list[object], value) if isinstance(value, list) else [value]


def _plain(text: str) -> str:
    return "".join(one for one in text.lower() if one not in " ,./-_*^'\"")
