"""Reading answers that are either text or calls, told apart by how they begin."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from liveweights.engines.protocol import Token
from liveweights.serve.api.syntax.protocol import Call, Said, begins_with


class WholeReader:
    """``parse`` gets the whole visible text of an answer that begins with ``trigger`` (a token
    that may have no text), or with one of ``openings``; None means that it is text after all.

    ``marks`` are tokens that may come after the trigger, itself too, and what they are written as
    where they have no text."""

    def __init__(
        self,
        trigger: int | None,
        openings: tuple[str, ...],
        parse: Callable[[str], list[Call] | None],
        marks: Mapping[int, str],
    ) -> None:
        self._trigger = trigger
        self._openings = openings
        self._parse = parse
        self._marks = marks
        self._space = ""
        """What came before the trigger, which is said where no call follows."""
        self._held: list[str] = []
        self._triggered = False
        self._calling: bool | None = None

    def push(self, token: Token) -> list[Said]:
        if self._triggered:
            mark = self._marks.get(token.id, "")
            self._held.append(token.text if mark in token.text else token.text + mark)
            return []
        if token.id == self._trigger:
            before = "".join(self._held)
            said: list[Said] = [before] if before.strip() else []
            self._space = "" if said else before
            self._held, self._triggered, self._calling = [token.text], True, True
            return said
        self._held.append(token.text)
        if self._calling is None:
            self._calling = self._begins()
        return self._flush() if self._calling is False else []

    def finish(self) -> list[Said]:
        calls = self._parse("".join(self._held)) if self._calling else None
        if calls is None:
            return self._flush()
        self._held = []
        return [*calls]

    def _begins(self) -> bool | None:
        """Whether the text begins with an opening; None while it may still turn out so."""
        text = "".join(self._held)
        found = [begins_with(text, opening) for opening in self._openings]
        return True if True in found else None if None in found else False

    def _flush(self) -> list[Said]:
        text = self._space + "".join(self._held)
        self._space, self._held = "", []
        return [text] if text else []
