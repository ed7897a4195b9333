"""What ternary models are calibrated and trained on: files of text, and recorded traffic."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liveweights.cli.context import with_all_added, write
from liveweights.cli.rules import read_terms
from liveweights.config import Config
from liveweights.cycle.lessons import Lessons
from liveweights.record.consented import Consented, read_consented
from liveweights.store.database import Connection
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import load_tokenizer
from liveweights.weights.staging import write_whole

FILE = "fitted_to.json"
"""Of a folder: the ids of the recorded answers that its weights were fitted to."""
ReadRecorded = Callable[[str, int, tuple[str, ...] | None], Consented]
"""What there is on a base, by its id, up to so many tokens; of those answers only, if ids are given
(``read_consented``)."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Their tokens, and the ids of the recorded answers among them."""

    ids: list[int]
    generations: tuple[str, ...]


def recorded_in(settings: Config, home: Path, wanted: bool) -> ReadRecorded | None:
    """How to read what the service of ``home`` recorded; None where it is not ``wanted``."""
    if not wanted:
        return None
    config = with_all_added(settings, home)
    terms = read_terms(config, home)

    def read(base: str, most: int, only: tuple[str, ...] | None) -> Consented:
        async def ask(conn: Connection) -> Consented:
            # Each model's answers are taken as if it learnt from itself: it is the same base.
            lessons: dict[str, Lessons] = {}

            def may_learn(alias: str, tenant: str, base: str | None) -> bool:
                of = lessons.setdefault(alias, Lessons(terms, alias, base))
                return of.may_learn(alias, tenant, base)

            async with terms.renewed(conn):
                return await read_consented(conn, base, most, may_learn=may_learn, only=only)

        return write(config, home, ask)

    return read


def read_texts(
    base: Checkpoint,
    files: Sequence[Path],
    most: int,
    recorded: ReadRecorded | None,
    begun: tuple[str, ...] | None = None,
) -> Texts:
    """The first tokens of the files, from each as many as from the others and from what is
    recorded: of the answers ``begun``, where something was begun with these. Raises OSError,
    ValueError, also where one of these may not be learnt from any more."""
    sources = len(files) + (recorded is not None)
    if not sources:
        raise ValueError("there is nothing to read: give --text FILE, or --recorded")
    share = -(-most // sources)
    found = recorded(base.id, share, begun) if recorded else Consented([], ())
    gone = {*(begun or ())} - {*found.generations} if recorded else ()
    if begun and gone:
        raise ValueError(
            f"{len(gone)} of the {len(begun)} recorded answers that it began with are gone, or may "
            "not be learnt from any more: begin with another --state, and remove this one"
        )
    if recorded and not found.ids:
        raise ValueError(
            f"nothing is recorded of {base.id} that may be learnt from: nobody agreed to training, "
            "or no model on it has answered yet"
        )
    ids = list(found.ids)
    tokenizer = load_tokenizer(base)
    for file in files:
        try:
            words = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{file} is no UTF-8 text") from error
        # A token is seldom more than ten characters: what is certainly too much is not split.
        ids += tokenizer.encode(words[: share * 20], add_special_tokens=False)[:share]
    return Texts(ids[:most], found.generations)


def note_texts(folder: Path, texts: Texts, start: Path | None = None) -> None:
    """Say in ``folder`` which recorded answers its weights were fitted to, and those of ``start``,
    which it began from: who forgets a user finds there what to make again."""
    before = read_noted(start) if start is not None else None
    generations = list(dict.fromkeys([*(before or ()), *texts.generations]))
    if generations:
        content = json.dumps({"generations": generations}, indent=1)
        write_whole(folder / FILE, content.encode())


def read_noted(folder: Path) -> tuple[str, ...] | None:
    """The ids that ``note_texts`` wrote there; None where it wrote none."""
    if not (folder / FILE).is_file():
        return None
    noted: Any = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return tuple(noted["generations"])
