"""Conversations in other turns, for templates that do not take them as they are.

Agents have several system messages, anywhere, and several tool outputs in a row. Some templates
take one system message, at the beginning, or none; and some want user and assistant to alternate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from liveweights.catalog.template import TemplateRefusal, TurnsRefused

Turn = dict[str, Any]
_PLAIN = {"role", "content"}
BEGINNING = 80
"""Characters of its first line by which a text is found: templates may write the rest otherwise."""


class Renderer(Protocol):
    """``catalog.template.ChatTemplate`` is the real one."""

    async def render(
        self,
        messages: list[Turn],
        tools: list[dict[str, Any]] | None,
        variables: Mapping[str, Any] = ...,
        /,
    ) -> str:
        """The prompt, ready for the assistant to answer. Raises TemplateRefusal."""
        ...


async def render_turns(
    template: Renderer,
    turns: list[Turn],
    tools: list[dict[str, Any]] | None,
    variables: Mapping[str, Any],
    told: Sequence[str] = (),
) -> str:
    """The prompt of ``turns`` as they are, else of the first of ``others`` that the template takes.
    It has the beginning of each of ``told`` in it, texts of the turns, unless the template leaves
    that out of all of them.

    Raises TemplateRefusal, with what is said of the turns as they are.
    """
    wanted = [text.strip().partition("\n")[0].rstrip()[:BEGINNING] for text in told]
    prompt, refusal = "", None
    try:
        prompt = await template.render(turns, tools, variables)
    except TemplateRefusal as error:
        refusal = error
    if refusal is None and all(text in prompt for text in wanted):
        return prompt
    for other in others(turns):
        try:
            changed = await template.render(other, tools, variables)
        except TurnsRefused:
            continue
        except TemplateRefusal:
            break  # it takes its time over each
        if all(text in changed for text in wanted):
            return changed
    if refusal is not None:
        raise refusal
    return prompt


def others(turns: list[Turn]) -> Iterator[list[Turn]]:
    """Turns that say the same, those that change less first."""
    gathered = gather(turns)
    folded = fold(gathered)
    seen = [turns]
    for other in (gathered, join(turns), join(gathered), folded, join(folded)):
        if other not in seen:
            seen.append(other)
            yield other


def gather(turns: Sequence[Turn]) -> list[Turn]:
    """With one system message, at the beginning."""
    told = [turn["content"] for turn in turns if turn["role"] == "system"]
    rest = [turn for turn in turns if turn["role"] != "system"]
    return [_say("system", told), *rest] if told else rest


def join(turns: Sequence[Turn]) -> list[Turn]:
    """Without a user or an assistant who speaks twice in a row. What calls tools, or was thought
    before, takes in the text before it, and nothing after it."""
    runs: list[list[Turn]] = []
    for turn in turns:
        role, before = turn["role"], runs[-1][-1] if runs else {}
        if role in ("user", "assistant") and before.get("role") == role and before.keys() == _PLAIN:
            runs[-1].append(turn)
        else:
            runs.append([turn])
    return [
        run[-1] | _say(run[-1]["role"], [turn["content"] for turn in run]) if run[1:] else run[0]
        for run in runs
    ]


def fold(turns: Sequence[Turn]) -> list[Turn]:
    """With the system message that they begin with in the first message of the user."""
    if not turns or turns[0]["role"] != "system":
        return list(turns)
    system, *rest = turns
    told = [system["content"]]
    if rest and rest[0]["role"] == "user":
        user, *rest = rest
        return [user | _say("user", [*told, user["content"]]), *rest]
    return [_say("user", told), *rest]


def _say(role: str, texts: Sequence[str]) -> Turn:
    return {"role": role, "content": "\n\n".join(text for text in texts if text)}
