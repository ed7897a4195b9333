"""What was asked and answered, a line per case, so that a run that dies goes on where it was."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from liveweights.gate.suites.suite import Attempt, Suite


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: what the rest belongs to."""

    suite: str
    version: str
    content: str
    """A digest of what the suite asks and how it scores: that may change while the version does
    not."""
    candidate: str
    incumbent: str
    seed: int


def digest(suite: Suite) -> str:
    """Of all that a suite asks, and how it scores."""
    asked = [msgspec.json.encode(part, order="sorted") for part in (suite.card, *suite.cases())]
    return hashlib.sha256(b"\n".join([*asked, suite.content()])).hexdigest()


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One sample of one case, by both."""

    case: str
    sample: int
    candidate: Attempt
    incumbent: Attempt


class Journal:
    """A file of its own per suite and pair of checkpoints; one of another is begun anew."""

    def __init__(self, path: Path, head: Head) -> None:
        self._path = path
        self._head = head

    def read(self) -> dict[tuple[str, int], Pair]:
        """Whole lines by case and sample; a line that was being written counts as not there."""
        try:
            first, *rest = self._path.read_bytes().split(b"\n")
            if msgspec.json.decode(first, type=Head) != self._head:
                raise ValueError("it belongs to another run")
        except (OSError, ValueError):
            self._begin([])
            return {}
        pairs: list[Pair] = []
        for line in rest:
            try:
                pairs.append(msgspec.json.decode(line, type=Pair))
            except msgspec.DecodeError:
                break
        self._begin(pairs)
        return {(pair.case, pair.sample): pair for pair in pairs}

    def write(self, pair: Pair) -> None:
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(pair) + b"\n")

    def _begin(self, pairs: list[Pair]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        lines = [msgspec.json.encode(line) + b"\n" for line in (self._head, *pairs)]
        partial.write_bytes(b"".join(lines))
        os.replace(partial, self._path)
