"""Rows of feedback for the trainers' benchmark, and a held-back set, from replayed developers."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec

from liveweights.engines.text import heal
from liveweights.replay.corpus import Corpus, SourceFile
from liveweights.replay.developer import positions
from liveweights.replay.settings import TrafficSettings


class Reaction(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt, an answer to it, and whether the developer took it.

    An accepted answer is what the developer went on to write, a rejected one another line of
    the same file. ``session`` is the file.
    """

    session: str
    prompt: str
    answer: str
    accepted: bool


class Feedback(msgspec.Struct, frozen=True, kw_only=True):
    """What every trainer gets, and what none of them sees."""

    train: list[Reaction]
    held_back: list[Reaction]


def replayed(count: int, held_back: int, seed: int = 0) -> Feedback:
    """Developers who type files top to bottom: neighbours share nearly all of their prompt."""
    return _feedback(count, held_back, TrafficSettings().session_positions, seed)


def unrelated(count: int, held_back: int, seed: int = 0) -> Feedback:
    """One request per file: no two prompts share anything."""
    return _feedback(count, held_back, 1, seed)


def write(feedback: Feedback, path: Path) -> None:
    path.write_bytes(msgspec.json.encode(feedback))


def read(path: Path) -> Feedback:
    return msgspec.json.decode(path.read_bytes(), type=Feedback)


def _feedback(count: int, held_back: int, per_file: int, seed: int) -> Feedback:
    split = Corpus.find().split(seed)
    train = list(islice(_reactions(split.training, per_file, seed), count))
    if len(train) < count:
        raise SystemExit(f"there are only {len(train)} such rows on this machine, not {count}")
    # Eight of a file, so that scoring them costs little.
    held = _reactions(split.held_out_files, 8, seed, always_accepted=True)
    return Feedback(train=train, held_back=list(islice(held, held_back)))


def _reactions(
    files: Sequence[SourceFile], per_file: int, seed: int, *, always_accepted: bool = False
) -> Iterator[Reaction]:
    draw = random.Random(seed)
    for file in files:
        places = positions(file.text, file=file.name, seed=seed)
        start = draw.randrange(max(1, len(places) - per_file))
        for place in places[start : start + per_file]:
            prompt, skipped = heal(place.prompt)
            accepted = always_accepted or draw.random() < 0.5
            line = place.expected if accepted else draw.choice(places).expected
            yield Reaction(
                session=file.name,
                prompt=prompt,
                answer=f"{skipped}{line}\n",
                accepted=accepted,
            )
