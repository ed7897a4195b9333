"""What users of chats said next, heard once: how it sounds, for canaries and for what is learnt."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from liveweights.catalog.template import TemplateSettings, rendering
from liveweights.cycle.settings import WorkerSettings
from liveweights.learn.dialogue import LAST, read_dialogue
from liveweights.learn.followups import read_mood
from liveweights.record.feedback import Mood
from liveweights.record.followups import Unheard, find_unheard, keep_moods
from liveweights.record.hearings import begin_hearing, note_heard
from liveweights.store.database import Connection, Pool
from liveweights.weights.models import read_tokenizer, say
from liveweights.weights.registry import NotRegistered, get

log = logging.getLogger(__name__)

Reader = Callable[[list[int], list[int]], str | None]

BATCH = 1000
"""Requests of one query and one transaction."""
SOON = timedelta(hours=1)
LATE = timedelta(days=1)
"""How long after it was asked a request may be recorded, which it is once it is answered, and is
heard all the same: by the next look at a canary, and by the next cycle."""


async def hear(
    pool: Pool, settings: WorkerSettings, *, late: bool, within: float = math.inf
) -> None:
    """Read what was said next in chats with the model, oldest first, and note how it sounds; what
    was heard before is not read again. ``late``: also what was recorded later than `SOON`, which
    other hearings miss. ``within``: for about so many seconds; the next hearing goes on from there.

    Each batch is a transaction, so that what was heard stays so, wherever this is broken off.
    Chats with a base whose tokenizer is gone or broken stay unheard. Raises ValueError where there
    is no such classifier.
    """
    model, classifier = settings.model, settings.rewards.classifier
    began, end = datetime.now(UTC), time.monotonic() + within
    async with pool.connection() as conn:
        marks = await begin_hearing(conn, model, classifier)
    after: tuple[datetime, str] | None
    after = (marks.whole - LATE if late else marks.until - SOON, "")
    while after is not None:
        async with pool.connection() as conn:
            page = await find_unheard(conn, model, classifier, after, most=BATCH, last=LAST)
            folders = await _find_folders(conn, page.unheard)
        heard = await asyncio.to_thread(_read, page.unheard, folders, settings)
        after = page.asked
        async with pool.connection() as conn:
            await keep_moods(conn, heard, classifier)
            until = min(after[0], began) if after else began
            await note_heard(conn, model, classifier, until, began=marks, late=late)
        # Only behind the mark: the next hearing would come no further otherwise.
        if until > marks.until and time.monotonic() >= end:
            return


async def _find_folders(conn: Connection, unheard: Sequence[Unheard]) -> dict[str, Path]:
    """Of the bases that are here."""
    folders: dict[str, Path] = {}
    for root in {one.root for one in unheard if one.root is not None and one.rest}:
        try:
            folders[root] = (await get(conn, root)).folder
        except NotRegistered:
            continue  # nobody can say what its tokens mean
    return folders


def _read(
    unheard: Sequence[Unheard], folders: dict[str, Path], settings: WorkerSettings
) -> list[tuple[Unheard, Mood]]:
    readers = {root: _find_reader(folder, settings.template) for root, folder in folders.items()}
    heard: list[tuple[Unheard, Mood]] = []
    for one in unheard:
        text = None
        if one.rest and one.root in readers:
            read = readers[one.root]
            if read is None:
                continue
            text = read(one.asked, one.rest)
        heard.append((one, read_mood(settings.rewards.classifier, text) if text else "neutral"))
    return heard


_warned: set[Path] = set()


def _find_reader(folder: Path, template: TemplateSettings) -> Reader | None:
    """None, and once in a process a warning, where the folder is gone or its tokenizer broken: a
    base that is no longer served must not end a cycle."""
    try:
        return _reader(folder, template)
    except Exception as error:  # whatever the parsers of its files find; some raise plain ones
        if folder not in _warned:
            _warned.add(folder)
            log.warning(
                "what was said next to the base in %s stays unheard: %s", folder, say(error)
            )
        return None


@lru_cache(maxsize=8)
def _reader(folder: Path, template: TemplateSettings) -> Reader:
    """What finds the next message in tokens (see `Unheard`) of the base in that folder."""
    tokenizer = read_tokenizer(folder)
    with rendering(tokenizer, template) as render:
        dialogue = read_dialogue(tokenizer, render)

    def read(asked: list[int], rest: list[int]) -> str | None:
        if dialogue is None:
            return None
        return dialogue.next_message(tokenizer.decode(asked), tokenizer.decode(rest))

    return read
