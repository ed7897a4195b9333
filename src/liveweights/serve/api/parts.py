"""An answer taken apart: what was thought, what is said, and what is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from liveweights.engines.protocol import Token
from liveweights.serve.api.syntax.protocol import Call, Reader, Said, Thought
from liveweights.serve.api.syntax.thinking import Split, Splitter

Part = Said | Thought


class PartReader:
    """Takes an answer apart while it is sampled, wherever its tokens cut it. ``splitter`` finds
    what is thought before it, ``reader`` the calls in it; None where there are none."""

    def __init__(self, splitter: Splitter | None, reader: Reader | None) -> None:
        self._splitter = splitter
        self._reader = reader

    def push(self, token: Token) -> list[Part]:
        split: list[Split] = [token] if self._splitter is None else self._splitter.push(token)
        return self._read(split)

    def finish(self) -> list[Part]:
        """No more tokens: what was waiting."""
        parts = self._read([] if self._splitter is None else self._splitter.finish())
        return parts if self._reader is None else [*parts, *self._reader.finish()]

    def _read(self, split: Sequence[Split]) -> list[Part]:
        parts: list[Part] = []
        for piece in split:
            if isinstance(piece, Thought):
                parts.append(piece)
            elif self._reader is not None:
                parts += self._reader.push(piece)
            elif piece.text:
                parts.append(piece.text)
        return parts


@dataclass(slots=True)
class Parts:
    """Of a whole answer."""

    text: str = ""
    thought: str = ""
    calls: list[Call] = field(default_factory=list[Call])


def take_apart(tokens: Sequence[Token], reader: PartReader) -> Parts:
    calls: list[Call] = []
    thoughts: list[str] = []
    texts: list[str] = []
    pieces = [piece for token in tokens for piece in reader.push(token)]
    for piece in (*pieces, *reader.finish()):
        match piece:
            case Call():
                calls.append(piece)
            case Thought():
                thoughts.append(piece.text)
            case _:
                texts.append(piece)
    return Parts("".join(texts), "".join(thoughts), calls)
