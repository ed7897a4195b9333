"""Reading answers that are either text or calls, told apart by how they begin."""

from __future__ import annotations

from collections.abc import Callable

from liveweights.engines.protocol import Token
from liveweights.serve.api.syntax.protocol import Call, Said, begins_with


class WholeReader:
    """``parse`` gets the whole visible text of an answer that begins with ``trigger`` (a token
    that has no text), or with one of ``openings``; None means that it is text after all."""

    def __init__(
        self,
        trigger: int | None,
        openings: tuple[str, ...],
        parse: Callable[[str], list[Call] | None],
    ) -> None:
        self._trigger = trigger
        self._openings = openings
        self._parse = parse
        self._held = ""
        self._calling: bool | None = None

    def push(self, token: Token) -> list[Said]:
        if token.id == self._trigger:
            said: list[Said] = [self._held] if self._held.strip() else []
            self._held, self._calling = token.text, True
            return said
        self._held += token.text
        if self._calling is None:
            self._calling = self._begins()
        return self._flush() if self._calling is False else []

    def finish(self) -> list[Said]:
        calls = self._parse(self._held) if self._calling else None
        if calls is None:
            return self._flush()
        self._held = ""
        return [*calls]

    def _begins(self) -> bool | None:
        """Whether the text begins with an opening; None while it may still turn out so."""
        found = [begins_with(self._held, opening) for opening in self._openings]
        return True if True in found else None if None in found else False

    def _flush(self) -> list[Said]:
        text, self._held = self._held, ""
        return [text] if text else []
