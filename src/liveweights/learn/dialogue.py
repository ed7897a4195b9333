"""What a chat template puts around messages, so that token ids can be read as a conversation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from liveweights.catalog.template import Render, TemplateRefusal
from liveweights.record.example import Example
from liveweights.record.feedback import Feedback

_MARKS = ("FIRSTMARK", "SECONDMARK", "THIRDMARK")
_NOTE = "(The user's reaction to the answer will be: {reaction})"


@dataclass(frozen=True, slots=True)
class Dialogue:
    """``between`` stands between an answer and the user's next message, ``closing`` between that
    and the next answer."""

    between: str
    closing: str
    closing_ids: tuple[int, ...]

    def follow_up(
        self, prompt_ids: Sequence[int], next_ids: Sequence[int], decode: Callable[[list[int]], str]
    ) -> str | None:
        """The user's message after the answer to ``prompt_ids``, from the next request's prompt.

        None where that is not the same conversation one answer and one message later.
        """
        if list(next_ids[: len(prompt_ids)]) != list(prompt_ids):
            return None
        return self.next_message(decode(list(next_ids[len(prompt_ids) :])))

    def next_message(self, rest: str) -> str | None:
        """The user's message in what the next request's prompt has behind that of the answer; None
        as above."""
        if not rest.endswith(self.closing):
            return None
        parts = rest.removesuffix(self.closing).split(self.between)
        return parts[1].strip() or None if len(parts) == 2 else None


def read_dialogue(tokenizer: Any, render: Render) -> Dialogue | None:
    """From a tokenizer's chat template; None if it has none, or one that hides its messages or
    makes nothing of them."""
    roles = ("user", "assistant", "user")
    turns = [{"role": r, "content": m} for r, m in zip(roles, _MARKS, strict=True)]
    try:
        text = render(turns)
    except TemplateRefusal:
        return None
    _, second, rest = text.partition(_MARKS[1])
    between, third, closing = rest.partition(_MARKS[2])
    if not (second and third and between and closing):
        return None
    ids: list[int] = tokenizer(closing, add_special_tokens=False).input_ids
    return Dialogue(between, closing, tuple(ids))


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
    closing = dialogue.closing_ids if dialogue else ()
    if closing and tuple(prompt_ids[-len(closing) :]) == closing:
        return [*prompt_ids[: -len(closing)], *encode("\n\n" + note), *closing]
    begun = len(opening) if tuple(prompt_ids[: len(opening)]) == opening else 0
    return [*prompt_ids[:begun], *encode(note + "\n\n"), *prompt_ids[begun:]]
