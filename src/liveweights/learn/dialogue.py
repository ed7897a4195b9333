"""What a chat template puts around messages, so that token ids can be read as a conversation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from liveweights.catalog.template import EFFORT, NOTHING, SWITCHES, Render, TemplateRefusal
from liveweights.record.example import Example
from liveweights.record.feedback import Feedback

_MARKS = ("FIRSTMARK", "SECONDMARK", "THIRDMARK")
_NOTE = "(The user's reaction to the answer will be: {reaction})"
MANNERS: tuple[Mapping[str, Any], ...] = (
    NOTHING,
    dict.fromkeys(SWITCHES, False),
    dict.fromkeys(SWITCHES, True),
    {EFFORT: "none"},
)
"""Variables with which a template may end its prompts in another way."""
LAST = 64
"""Tokens at the end of a prompt that are compared as text: a template may leave out some of them
once the answer was given."""


@dataclass(frozen=True, slots=True)
class Closing:
    """What may stand between a user's message and the answer to it: its ``text``, that in tokens,
    and the ``fleeting`` end of it that the template leaves out once the answer was given, such as
    a thought that it opened."""

    text: str
    ids: tuple[int, ...]
    fleeting: str = ""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """``between`` stands between an answer and the user's next message, one of ``closings`` (at
    least one: that without any variables first) between that and the next answer, which begins
    with the white space ``lead``."""

    between: str
    closings: tuple[Closing, ...]
    lead: str = ""

    @property
    def closing_ids(self) -> tuple[int, ...]:
        return self.closings[0].ids

    def follow_up(
        self, prompt_ids: Sequence[int], next_ids: Sequence[int], decode: Callable[[list[int]], str]
    ) -> str | None:
        """The user's message after the answer to ``prompt_ids``, from the next request's prompt.

        None where that is not the same conversation one answer and one message later.
        """
        shared = max(0, len(prompt_ids) - LAST)
        if list(next_ids[:shared]) != list(prompt_ids[:shared]):
            return None
        return self.next_message(decode(list(prompt_ids[shared:])), decode(list(next_ids[shared:])))

    def next_message(self, asked: str, rest: str) -> str | None:
        """The user's message after an answer to what ends in ``asked``, where the next request's
        prompt has ``rest`` from there on; None as above."""
        closing = self._find_closing(asked)
        lasting = asked.removesuffix(closing.fleeting) if closing else asked
        last = self._find_closing(rest)
        if not lasting or last is None or not rest.startswith(lasting):
            return None
        parts = rest.removeprefix(lasting).removesuffix(last.text).split(self.between)
        return parts[1].strip() or None if len(parts) == 2 else None

    def _find_closing(self, text: str) -> Closing | None:
        found = (closing for closing in self.closings if text.endswith(closing.text))
        return max(found, key=lambda closing: len(closing.text), default=None)


def read_dialogue(tokenizer: Any, render: Render) -> Dialogue | None:
    """From a tokenizer's chat template; None if it has none, or one that hides its messages or
    makes nothing of them."""
    roles = ("user", "assistant", "user")
    turns = [{"role": r, "content": m} for r, m in zip(roles, _MARKS, strict=True)]
    between, lead, closings = "", "", dict[str, Closing]()
    for variables in MANNERS:
        try:
            text, begun = render(turns, None, variables), render(turns[:1], None, variables)
        except TemplateRefusal:
            if variables is NOTHING:
                return None
            continue
        asked, second, rest = text.partition(_MARKS[1])
        apart, third, closing = rest.partition(_MARKS[2])
        if not closings and not (second and third and apart and closing):
            return None
        if not closings and asked.startswith(begun) and asked[len(begun) :].isspace():
            lead = asked[len(begun) :]
        between = between or apart
        if not closing:
            continue
        ids: list[int] = tokenizer(closing, add_special_tokens=False).input_ids
        pairs = enumerate(zip(begun, text, strict=False))
        shared = next((place for place, (ours, theirs) in pairs if ours != theirs), len(begun))
        closings.setdefault(closing, Closing(closing, tuple(ids), begun[shared:]))
    return Dialogue(between, tuple(closings.values()), lead)


def read_opening(tokenizer: Any) -> tuple[int, ...]:
    """What a tokenizer puts before any text: the token that begins one, if it has such a token."""
    said: list[int] = tokenizer("a", add_special_tokens=False).input_ids
    whole: list[int] = tokenizer("a").input_ids
    places = (n for n in range(len(whole)) if whole[n : n + len(said)] == said)
    return tuple(whole[: next(places, 0)])


def add_follow_ups(
    examples: Sequence[Example],
    next_prompts: Mapping[str, Sequence[int]],
    dialogue: Dialogue | None,
    decode: Callable[[list[int]], str],
) -> list[Example]:
    """Examples whose follow-up is known get it as a ``comment``, before those that were sent.

    ``next_prompts`` holds, by generation, the prompt of the same session's next request.
    """
    extended: list[Example] = []
    for example in examples:
        generation = example.generation
        following = next_prompts.get(generation.id)
        follow_up = (
            dialogue.follow_up(generation.prompt_ids, following, decode)
            if dialogue and following
            else None
        )
        if follow_up is None:
            extended.append(example)
            continue
        comment = Feedback(
            id=f"follow-up-{generation.id}",
            generation=generation.id,
            signal="comment",
            text=follow_up,
            tenant=generation.tenant,
            received_at=generation.created_at,
        )
        extended.append(Example(generation, (comment, *example.feedback)))
    return extended


def hindsight_prompt(
    prompt_ids: Sequence[int],
    reaction: str,
    dialogue: Dialogue | None,
    encode: Callable[[str], list[int]],
    *,
    opening: tuple[int, ...] = (),
) -> list[int]:
    """The prompt of a policy that knows how the user will react.

    In a chat the reaction is told at the end of the user's message; elsewhere in front, but behind
    the ``opening`` (see ``read_opening``) of a prompt that has it.
    ``encode`` must not read special tokens in what a user wrote.
    """
    note = _NOTE.format(reaction=reaction.strip())
    closings = [closing.ids for closing in dialogue.closings] if dialogue else []
    found = [ids for ids in closings if ids and tuple(prompt_ids[-len(ids) :]) == ids]
    if found:
        closing = max(found, key=len)
        return [*prompt_ids[: -len(closing)], *encode("\n\n" + note), *closing]
    begun = len(opening) if tuple(prompt_ids[: len(opening)]) == opening else 0
    return [*prompt_ids[:begun], *encode(note + "\n\n"), *prompt_ids[begun:]]
