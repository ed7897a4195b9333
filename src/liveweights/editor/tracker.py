"""What becomes of one suggestion, read from what happens to the document. Pure.

A suggestion is *offered* as long as the document holds a beginning of it at its place. Taken to its
end, or by the editor's word, it is accepted, and *settling*: what is left of it is told after a
while and when the file is saved. As soon as something else stands there it is *written* over: once
its line is left, what the line became decides, as for a replayed developer
(``liveweights.replay.developer.judge``): the same text is accepted however it came about, any
other is the correction.

Taken in steps, word by word or line by line, it is accepted as far as it was taken, and that part
is told as what survived.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from liveweights.editor.text import CLOSED_BY, Edit, common, end_of_line

Signal = Literal["accepted", "rejected", "edited", "correction"]
Phase = Literal["offered", "written", "settling"]
FORMER = 256
"""Changes of an accepted suggestion that are known when they are undone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """``text`` is what was shown, empty for silence; ``overlap`` the end of the answer that was cut
    off because the document has it behind the cursor already. ``infill``: the model was told what
    stands behind the cursor, so that a correction ends there."""

    generation: str
    text: str
    overlap: str = ""
    infill: bool = False


class Span(NamedTuple):
    """A part of a document."""

    document: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """One signal of ``POST /v1/feedback``. ``source`` is where its text stands, by whose lines it
    is judged whether it may be told."""

    generation: str
    signal: Signal
    text: str | None = None
    source: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """Where a suggestion stands. What the document has in its place goes from ``start`` to
    ``end``; the first ``matched`` characters of that are the suggestion's, of which the first
    ``taken`` were not typed. Times are seconds of any one clock."""

    suggestion: Suggestion
    start: int
    end: int
    phase: Phase = "offered"
    matched: int = 0
    taken: int = 0
    dismissed: bool = False
    accepted_at: float = 0.0
    settled: bool = False
    told: str | None = None
    """What was last told to be left of it."""
    former: tuple[tuple[int, int, int], ...] = ()
    """Of documents (their hashes) that a change of the accepted suggestion was made in: where it
    went from and to."""


@dataclass(frozen=True, slots=True)
class Step:
    """What an event made of a track, None where there is nothing left to learn, and what is to be
    told."""

    track: Track | None
    verdicts: tuple[Verdict, ...] = ()


def offer(suggestion: Suggestion, offset: int) -> Track:
    """Follows a suggestion that was just shown at ``offset``. Where nothing was shown, what is
    written there is followed all the same."""
    phase: Phase = "offered" if suggestion.text else "written"
    return Track(suggestion=suggestion, start=offset, end=offset, phase=phase)


def rest_of(track: Track, text: str, offset: int) -> str:
    """What is still to be shown of an offered suggestion where the cursor is; empty: nothing."""
    if track.phase != "offered" or offset != track.start + track.matched:
        return ""
    rest = track.suggestion.text[track.matched :]
    closers = text[offset : track.end]
    return rest.removesuffix(closers) if closers else rest


def edited(track: Track, before: str, after: str, edit: Edit, now: float) -> Step:
    """After the document changed from ``before`` to ``after`` by ``edit``."""
    if track.phase == "settling":
        return _settle_over(track, before, after, edit)
    region = _region(track, before, after)
    if region is None:
        return _edited_outside(track, before, after, edit, now)
    inside = replace(track, end=track.start + len(region))
    if track.phase == "offered":
        return _go_on(inside, region, after, now)
    return _write(inside, region, after, now)


def asked(track: Track, text: str, offset: int, now: float) -> Step:
    """The editor asks for a suggestion with the cursor at ``offset``."""
    if track.phase == "settling":
        return Step(track)
    if not _on_line(track, text, offset):
        return leave(track, text, now)
    if track.phase == "offered" and not rest_of(track, text, offset):
        return Step(replace(track, phase="written"))
    return Step(track)


def accepted(track: Track, text: str, now: float) -> Step:
    """The editor says that the suggestion was taken whole."""
    if track.phase == "settling":
        return Step(track)
    return _accept(track, text, now)


def dismissed(track: Track) -> Step:
    """The editor says that the suggestion was dismissed; of one that was taken in part, the
    rest."""
    if track.phase != "offered":
        return Step(track)
    gone = replace(track, phase="written", dismissed=not track.taken)
    told = () if track.taken else (Verdict(track.suggestion.generation, "rejected"),)
    return Step(gone, told)


def saved(track: Track, text: str) -> Step:
    """The file is saved. That says nothing of a line that is being written: many editors save by
    themselves."""
    if track.phase != "settling":
        return Step(track)
    left = _left_of(track, text)
    told = () if left == track.told else (_edited(track, text, left),)
    return Step(None if track.settled else replace(track, told=left), told)


def ticked(track: Track, text: str, now: float, settle: float) -> Step:
    """Time passed. ``settle`` seconds after its acceptance it is told what is left."""
    if track.phase != "settling" or track.settled or now < track.accepted_at + settle:
        return Step(track)
    left = _left_of(track, text)
    return Step(replace(track, settled=True, told=left), (_edited(track, text, left),))


def closed(track: Track, text: str, now: float) -> Step:
    """The document is closed: the last that can be told."""
    if track.phase != "settling":
        return Step(None, leave(track, text, now).verdicts)
    left = _left_of(track, text)
    return Step(None, () if left == track.told else (_edited(track, text, left),))


def leave(track: Track, text: str, now: float, *, lost: bool = False) -> Step:
    """The line is left: what it became decides. ``lost``: so much changed around it that nobody
    can say what was written in the suggestion's place."""
    suggestion, region = track.suggestion, text[track.start : track.end]
    newline = region.find("\n", track.matched)
    written = region if newline < 0 else region[:newline]
    tail = "" if newline >= 0 else text[track.end : end_of_line(text, track.end)]
    if suggestion.text and not lost and _agree(written, tail, suggestion):
        return _accept(track, text, now)
    corrected = () if lost or not region else _correct(track, text, written, tail)
    if track.taken:
        part = suggestion.text[: track.taken]
        told = (_verdict(track, "accepted"), _edited(track, text, part))
        following = replace(
            track,
            phase="settling",
            end=track.start + track.taken,
            accepted_at=now,
            told=part,
        )
        return Step(None if lost else following, (*told, *corrected))
    clicked = () if track.dismissed or not suggestion.text else (_verdict(track, "rejected"),)
    return Step(None, (*clicked, *corrected))


def _agree(written: str, tail: str, suggestion: Suggestion) -> bool:
    whole = (suggestion.text + suggestion.overlap).rstrip()
    return written.rstrip() == suggestion.text.rstrip() or (
        bool(suggestion.overlap) and (written + tail).rstrip() == whole
    )


def _correct(track: Track, document: str, written: str, tail: str) -> tuple[Verdict, ...]:
    """A model that was not told what stands behind the cursor goes on to the line's end."""
    text = written if track.suggestion.infill else written + tail + "\n"
    return (_verdict(track, "correction", text, document),) if text.strip() else ()


def _edited(track: Track, document: str, left: str) -> Verdict:
    return _verdict(track, "edited", left, document)


def _verdict(
    track: Track, signal: Signal, text: str | None = None, document: str | None = None
) -> Verdict:
    """``text`` is what stands in ``document`` from the track's start on."""
    source = None
    if text is not None and document is not None:
        source = Span(document, track.start, track.start + len(text))
    return Verdict(track.suggestion.generation, signal, text, source)


def _accept(track: Track, text: str, now: float) -> Step:
    whole = len(track.suggestion.text)
    there = text.startswith(track.suggestion.text, track.start)
    end = track.start + whole if there else track.end
    settling = replace(track, phase="settling", end=end, taken=whole, accepted_at=now)
    return Step(settling, (_verdict(track, "accepted"),))


def _region(track: Track, before: str, after: str) -> str | None:
    """What stands in the suggestion's place after a change that left everything around it as it
    was; None after any other. Compared as texts: where letters repeat, editors disagree on where
    exactly one was inserted."""
    head, tail = before[: track.start], before[track.end :]
    size = len(after) - len(head) - len(tail)
    if size < 0 or not (after.startswith(head) and after.endswith(tail)):
        return None
    return after[len(head) : len(head) + size]


def _go_on(track: Track, region: str, text: str, now: float) -> Step:
    """An offered suggestion after a change in its place."""
    matched = _progress(region, track.suggestion.text)
    if matched is None:
        return _write(track, region, text, now)
    whole = len(track.suggestion.text)
    if _is_step(track, matched):
        if matched == whole:
            return _accept(replace(track, matched=whole), text, now)
        return Step(replace(track, matched=matched, taken=matched))
    return Step(replace(track, matched=matched, taken=min(track.taken, matched)))


def _progress(region: str, suggested: str) -> int | None:
    """How many characters of the suggestion stand there, or None if something else does. Brackets
    and quotes that editors close by themselves may follow."""
    matched = common(region, suggested)
    extra = region[matched:]
    if extra and extra != _open(suggested[:matched])[: len(extra)]:
        return None
    return matched


def _open(text: str) -> str:
    """What closes the brackets and quotes that ``text`` leaves open, the innermost first."""
    waiting: list[str] = []
    for letter in text:
        if waiting and letter == waiting[-1]:
            waiting.pop()
        elif letter in CLOSED_BY:
            waiting.append(CLOSED_BY[letter])
    return "".join(reversed(waiting))


def _is_step(track: Track, matched: int) -> bool:
    """Whether the editor put there what nobody types at once: more than a letter, up to where a
    word or the suggestion ends, and not just the indentation that follows Enter."""
    text = track.suggestion.text
    step = text[track.matched : matched]
    if len(step) < 2 or (step[0] == "\n" and not step.strip()):
        return False
    return matched == len(text) or not (_in_word(text[matched - 1]) and _in_word(text[matched]))


def _in_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"


def _write(track: Track, region: str, text: str, now: float) -> Step:
    """Something else stands in the suggestion's place, which an Enter behind it ends."""
    matched = common(region, track.suggestion.text)
    written = replace(track, phase="written", matched=matched, taken=min(track.taken, matched))
    return leave(written, text, now) if "\n" in region[matched:] else Step(written)


def _edited_outside(track: Track, before: str, after: str, edit: Edit, now: float) -> Step:
    """A change that was not just in the suggestion's place."""
    end = edit.start + edit.removed
    moved = len(edit.inserted) - edit.removed
    written = replace(track, phase="written")
    if edit.start >= track.end:
        left = "\n" in before[track.end : edit.start]
        return leave(track, after, now) if left else Step(written)
    if end < track.start or (end == track.start and not edit.removed):
        shifted = replace(written, start=track.start + moved, end=track.end + moved)
        left = "\n" in before[end : track.start]
        return leave(shifted, after, now) if left else Step(shifted)
    return leave(track, before, now, lost=True)


def _on_line(track: Track, text: str, offset: int) -> bool:
    if offset < track.start:
        return "\n" not in text[offset : track.start]
    return "\n" not in text[track.end : max(offset, track.end)]


def _left_of(track: Track, text: str) -> str:
    """What is left of an accepted answer, the part that stood there before included."""
    overlap = track.suggestion.overlap
    follows = overlap and text.startswith(overlap, track.end)
    return text[track.start : track.end] + (overlap if follows else "")


def _settle_over(track: Track, before: str, after: str, edit: Edit) -> Step:
    """An accepted suggestion after a change. Where that is undone or made again, so that the
    document is one of before, the suggestion stands where it stood then."""
    now = hash(after)
    for then, start, end in reversed(track.former):
        if then == now:
            return Step(replace(track, start=start, end=end))
    following = _move(track, before, edit).track
    if following is None:
        return Step(None)
    if after[following.start : following.end] != before[track.start : track.end]:
        former = (*track.former, (hash(before), track.start, track.end))
        following = replace(following, former=former[-FORMER:])
    return Step(following)


def _move(track: Track, before: str, edit: Edit) -> Step:
    """What is written before and behind an accepted suggestion is not of it."""
    start, end = track.start, track.end
    last, moved = edit.start + edit.removed, len(edit.inserted) - edit.removed
    if last <= start:
        return Step(replace(track, start=start + moved, end=end + moved))
    if edit.start >= end:
        return Step(track)
    if edit.start >= start and last <= end:
        return Step(replace(track, end=end + moved))
    if edit.start <= start and last >= end:
        place = edit.inserted.find(before[start:end])
        if place < 0 and edit.inserted.strip():
            return Step(None)  # written anew, by a formatter perhaps: nobody knows what is left
        start = edit.start + max(place, 0)
        return Step(
            replace(track, start=start, end=start + (end - track.start if place >= 0 else 0))
        )
    if edit.start < start:
        start = edit.start + len(edit.inserted)
        return Step(replace(track, start=start, end=end + moved))
    return Step(replace(track, end=edit.start))
