"""Reading calls that stand between two visible markers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from liveweights.engines.protocol import Token
from liveweights.serve.api.syntax.protocol import Call, Said, begins_alone, read_calls, unfence

Parse = Callable[[str, Collection[str]], list[Call] | None]


class MarkedReader:
    """Text flows through; what may be the beginning of a marker is held back until it is
    decided, and so is white space, which belongs to no text when a call follows. An answer that is
    nothing but calls without markers is held back, too, until it ends."""

    def __init__(
        self,
        begin: str,
        end: str,
        names: Collection[str],
        tokens: Mapping[int, str],
        parse: Parse = read_calls,
    ) -> None:
        """``tokens`` are markers that are tokens of their own, which may have no text. ``parse``
        reads what stands between the markers, None where that is no call."""
        self._begin = begin
        self._end = end
        self._names = names
        self._tokens = tokens
        self._parse = parse
        self._held = ""
        self._space = ""
        """What stands before the marker that it is inside of."""
        self._inside = False
        self._after_call = False
        self._bare: bool | None = None
        """Whether it began as a call without markers does; None while that is not known."""

    def push(self, token: Token) -> list[Said]:
        mark = self._tokens.get(token.id, "")
        self._held += token.text if mark in token.text else token.text + mark
        if self._bare is None:
            self._bare = begins_alone(self._held)
        if self._bare is not False:
            return []
        said: list[Said] = []
        while self._inside or self._begin in self._held:
            if not self._inside:
                before, _, self._held = self._held.partition(self._begin)
                text = before.rstrip()
                self._space, self._inside = before[len(text) :], True
                self._say(said, text)
            body, end, rest = self._held.partition(self._end)
            if not end:
                return said
            self._take(said, body, self._begin + body + self._end)
            self._held, self._inside = rest, False
        cut = len(self._held) - self._undecided()
        self._say(said, self._held[:cut])
        self._held = self._held[cut:]
        return said

    def finish(self) -> list[Said]:
        said: list[Said] = []
        if self._bare is not False:
            calls = read_calls(unfence(self._held), self._names)
            if calls is not None:
                self._held = ""
                return [*calls]
            self._bare = False
            said = self.push(Token(-1, "", 0.0, 0.0))  # it was text, perhaps with markers
        if self._inside:  # cut short, perhaps in the end marker only
            self._take(said, self._held, self._begin + self._held)
        elif not (self._after_call and self._held.isspace()):
            self._say(said, self._held)
        self._held = ""
        return said

    def _say(self, said: list[Said], text: str) -> None:
        if self._after_call:
            text = text.lstrip()
        if text:
            self._after_call = False
            said.append(text)

    def _take(self, said: list[Said], body: str, whole: str) -> None:
        calls = self._parse(body, self._names)
        if calls is None:
            self._say(said, self._space + whole)
        else:
            said.extend(calls)
            self._after_call = True

    def _undecided(self) -> int:
        """Length of the end of the held text that may belong to a marker."""
        text = self._held
        for length in range(min(len(self._begin) - 1, len(text)), 0, -1):
            if self._begin.startswith(text[-length:]):
                return length + len(text[:-length]) - len(text[:-length].rstrip())
        return len(text) - len(text.rstrip())
