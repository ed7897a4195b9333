"""Reading calls that stand between two visible markers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from liveweights.engines.protocol import Token
from liveweights.serve.api.syntax.protocol import (
    MOST_SPACE,
    Call,
    Said,
    begins_alone,
    read_calls,
    unfence,
)

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
        """What may be the beginning of a marker."""
        self._kept: list[str] = []
        """What came before that: of the call that it is inside of, or of one that stands alone."""
        self._space = ""
        """What stands before the marker that it is inside of."""
        self._inside = False
        self._after_call = False
        self._bare: bool | None = None
        """Whether it began as a call without markers does; None while that is not known."""

    def push(self, token: Token) -> list[Said]:
        mark = self._tokens.get(token.id, "")
        text = token.text if mark in token.text else token.text + mark
        if self._bare is None:
            text, self._held = self._held + text, ""
            self._bare = begins_alone(text)
        if self._bare is False:
            return self._read(text)
        if self._bare is None:
            self._held = text
        else:
            self._kept.append(text)
        return []

    def finish(self) -> list[Said]:
        said: list[Said] = []
        if self._bare is not False:
            text = self._take_kept()
            calls = read_calls(unfence(text), self._names)
            if calls is not None:
                return [*calls]
            self._bare = False
            said = self._read(text)  # it was text, perhaps with markers
        if self._inside:  # cut short, perhaps in the end marker only
            body = self._take_kept()
            self._take(said, body, self._begin + body)
        elif not (self._after_call and self._held.isspace()):
            self._say(said, self._held)
        self._held = ""
        return said

    def _read(self, text: str) -> list[Said]:
        """What goes on with ``text``: each of its characters is looked at once."""
        said: list[Said] = []
        text, self._held = self._held + text, ""
        at = 0
        while True:
            if not self._inside:
                start = text.find(self._begin, at)
                if start < 0:
                    break
                before = text[at:start]
                spoken = before.rstrip()
                self._space, self._inside = before[len(spoken) :], True
                self._say(said, spoken)
                at = start + len(self._begin)
            stop = text.find(self._end, at)
            if stop < 0:
                certain = max(at, len(text) - len(self._end) + 1)
                self._kept.append(text[at:certain])
                self._held = text[certain:]
                return said
            self._held = text[at:stop]
            body = self._take_kept()
            self._take(said, body, self._begin + body + self._end)
            at, self._inside = stop + len(self._end), False
        rest = text[at:]
        cut = len(rest) - self._undecided(rest)
        self._say(said, rest[:cut])
        self._held = rest[cut:]
        return said

    def _take_kept(self) -> str:
        kept = "".join(self._kept) + self._held
        self._kept, self._held = [], ""
        return kept

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

    def _undecided(self, text: str) -> int:
        """Length of the end of ``text`` that may belong to a marker, or stand before one."""
        longest = min(len(self._begin) - 1, len(text))
        may_begin = (n for n in range(longest, 0, -1) if self._begin.startswith(text[-n:]))
        mark = next(may_begin, 0)
        before = text[: len(text) - mark]
        space = len(before) - len(before.rstrip())
        return mark + (space if space <= MOST_SPACE else 0)
