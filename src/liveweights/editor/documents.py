"""The open documents, and the suggestions in each that something may still be told of. Pure but
for the names of sessions."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from liveweights.editor import tracker
from liveweights.editor.text import Change, Edit, Encoding, apply, end_of_line
from liveweights.editor.tracker import Step, Suggestion, Track, Verdict

MOST_TRACKS = 50
"""Of one document; the oldest are let go, with what can be told of them by then."""


@dataclass(slots=True)
class Document:
    """One open document; its session is its own from its opening on. Every method that takes
    ``now``, seconds of one clock, gives what is to be told."""

    uri: str
    language: str
    text: str
    version: int = 0
    session: str = field(default_factory=lambda: uuid.uuid4().hex)
    tracks: list[Track] = field(default_factory=list[Track])

    def change(self, changes: Sequence[Change], encoding: Encoding, now: float) -> list[Verdict]:
        """All of ``changes`` are made, one after the other, before what is followed is looked
        at."""
        made = list[tuple[str, str, Edit]]()
        for change in changes:
            before = self.text
            self.text, edit = apply(before, change, encoding)
            if self.text != before:
                made.append((before, self.text, edit))
        return [
            verdict
            for before, after, edit in made
            for verdict in self._each(partial(_edited, before, after, edit, now))
        ]

    def ask(self, offset: int, now: float) -> list[Verdict]:
        """The editor asks with the cursor at ``offset``."""
        return self._each(lambda track: tracker.asked(track, self.text, offset, now))

    def show(self, suggestion: Suggestion, offset: int, now: float) -> list[Verdict]:
        """Follow what was just shown at ``offset``."""
        self.tracks.append(tracker.offer(suggestion, offset))
        if len(self.tracks) <= MOST_TRACKS:
            return []
        return list(tracker.closed(self.tracks.pop(0), self.text, now).verdicts)

    def offered(self, offset: int) -> tuple[str, str]:
        """The generation and the rest of what is offered where the cursor is; both empty where
        nothing is."""
        for track in reversed(self.tracks):
            if rest := tracker.rest_of(track, self.text, offset):
                return track.suggestion.generation, rest
        return "", ""

    def accept(self, generation: str, now: float) -> list[Verdict]:
        """The editor says that a suggestion was taken whole."""
        return self._each(
            lambda track: (
                tracker.accepted(track, self.text, now)
                if track.suggestion.generation == generation
                else Step(track)
            )
        )

    def dismiss(self) -> list[Verdict]:
        """The editor says that what was offered was dismissed."""
        return self._each(tracker.dismissed)

    def save(self) -> list[Verdict]:
        return self._each(lambda track: tracker.saved(track, self.text))

    def tick(self, settle: float, now: float) -> list[Verdict]:
        return self._each(lambda track: tracker.ticked(track, self.text, now, settle))

    def close(self, now: float) -> list[Verdict]:
        return self._each(lambda track: tracker.closed(track, self.text, now))

    def tail(self, offset: int) -> str:
        """What stands behind ``offset`` on its line."""
        return self.text[offset : end_of_line(self.text, offset)]

    def _each(self, act: Callable[[Track], Step]) -> list[Verdict]:
        steps = [act(track) for track in self.tracks]
        self.tracks = [step.track for step in steps if step.track is not None]
        return [verdict for step in steps for verdict in step.verdicts]


def _edited(before: str, after: str, edit: Edit, now: float, track: Track) -> Step:
    return tracker.edited(track, before, after, edit, now)
