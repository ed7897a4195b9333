"""Answers of another base in words: its tokens mean nothing to this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from liveweights.catalog.template import Render, TemplateRefusal
from liveweights.learn.dialogue import MANNERS
from liveweights.record.example import Example
from liveweights.record.generation import Generation

_SYSTEM, _ASKED, _ANSWERED, _NEXT = "SYSTEMMARK", "FIRSTMARK", "SECONDMARK", "THIRDMARK"


@dataclass(frozen=True, slots=True)
class Frame:
    """What a chat template puts around messages: ``opening`` before the first of a user, ``system``
    and ``asked`` around a system message before it (None: the template takes none), ``answering``
    between a user's and the answer, ``between`` from there to the next of the user, and one of
    ``closings`` behind the last, which need not be the same: a thought may be opened."""

    opening: str
    answering: str
    between: str
    system: str | None
    asked: str
    closings: frozenset[str]

    def split(self, text: str) -> list[dict[str, str]] | None:
        """The messages of a prompt that was rendered so; None where it was not, or where it holds
        more than what system, user and assistant say."""
        closing = max(filter(text.endswith, self.closings), key=len, default=None)
        if closing is None:
            return None
        text = text.removesuffix(closing)
        told: list[dict[str, str]] = []
        if text.startswith(self.opening):
            text = text.removeprefix(self.opening)
        elif self.system is not None and text.startswith(self.system):
            said, mark, text = text.removeprefix(self.system).partition(self.asked)
            if not mark:
                return None
            told.append({"role": "system", "content": said})
        else:
            return None
        *turns, last = text.split(self.between)
        for turn in turns:
            asked, mark, answered = turn.partition(self.answering)
            if not mark or self.answering in answered:
                return None
            told += _turn(asked, answered)
        if self.answering in last:
            return None
        return [*told, {"role": "user", "content": last}]


def read_frame(render: Render) -> Frame | None:
    """From a chat template; None if there is none, or one that hides its messages."""
    asked = {"role": "user", "content": _ASKED}
    try:
        text = render([*_turn(_ASKED, _ANSWERED), {"role": "user", "content": _NEXT}])
        opening, first, rest = text.partition(_ASKED)
        answering, second, rest = rest.partition(_ANSWERED)
        between, third, _ = rest.partition(_NEXT)
    except TemplateRefusal:
        return None
    closings = frozenset(_read_closings(render, asked))
    if not (first and second and third and between and answering and closings):
        return None
    try:
        told = render([{"role": "system", "content": _SYSTEM}, asked])
    except TemplateRefusal:
        told = ""
    before, mark, rest = told.partition(_SYSTEM)
    after, again, _ = rest.partition(_ASKED)
    known = bool(mark and again and before and after)
    return Frame(opening, answering, between, before if known else None, after, closings)


def _read_closings(render: Render, asked: dict[str, str]) -> Iterator[str]:
    for variables in MANNERS:
        try:
            closing = render([asked], None, variables).partition(_ASKED)[2]
        except TemplateRefusal:
            continue
        if closing:
            yield closing


def in_words(
    example: Example, *, tokenizer: Any, decode: Callable[[Sequence[int]], str], frame: Frame | None
) -> Example:
    """``example`` as if an upstream had answered it, which says no tokens and no log-probabilities:
    its prompt is what was asked, in the request's words.

    ``tokenizer``, ``decode`` and ``frame`` are those of the base that answered. What was asked in
    that one's own marks (to fill a gap, to call tools) cannot be said in words: it is left without
    a prompt, and teaches nothing.
    """
    generation = example.generation
    return replace(
        example,
        generation=replace(
            generation,
            prompt=_say(generation, tokenizer, decode, frame),
            prompt_ids=[],
            output_ids=[],
            logprobs=[],
            raw_logprobs=[],
            healed="",
            experts=None,
        ),
    )


def _say(
    generation: Generation,
    tokenizer: Any,
    decode: Callable[[Sequence[int]], str],
    frame: Frame | None,
) -> str:
    """What was asked, as JSON; empty where it cannot be said."""
    if not generation.prompt_ids:
        return generation.prompt
    if generation.endpoint == "chat":
        messages = frame.split(decode(generation.prompt_ids)) if frame else None
        return _encode({"messages": messages}) if messages else ""
    special = frozenset(tokenizer.all_special_ids)
    first = 1 if generation.prompt_ids[0] in special else 0
    plain = generation.prompt_ids[first:]
    if not special.isdisjoint(plain):
        return ""
    return _encode({"prompt": decode(plain) + generation.healed})


def _encode(asked: dict[str, Any]) -> str:
    return msgspec.json.encode(asked).decode()


def _turn(asked: str, answered: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
