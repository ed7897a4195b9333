"""Answers of other bases among what a cycle read: put into words before they teach."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from liveweights.catalog.template import TemplateSettings, rendering
from liveweights.learn.words import in_words, read_frame
from liveweights.record.example import Example
from liveweights.store.database import Connection
from liveweights.weights.models import read_tokenizer
from liveweights.weights.registry import get

log = logging.getLogger(__name__)


async def translate(
    conn: Connection, examples: Sequence[Example], base: str, template: TemplateSettings
) -> list[Example]:
    """``examples`` with those in words that were answered on another base than ``base``, by the
    tokenizer in that one's folder. Raises NotRegistered, and what its parsers find."""
    roots = await _read_roots(conn, {example.generation.checkpoint for example in examples})
    foreign = {root for root in roots.values() if root != base}
    if not foreign:
        return list(examples)
    folders = {root: (await get(conn, root)).folder for root in foreign}
    translated, lost = await asyncio.to_thread(_translate, examples, roots, folders, template)
    for root, count in lost.items():
        log.warning("%d answers of %s cannot be said in words, and teach nothing", count, root)
    return translated


def _translate(
    examples: Sequence[Example],
    roots: Mapping[str, str],
    folders: Mapping[str, Path],
    template: TemplateSettings,
) -> tuple[list[Example], Counter[str]]:
    done: list[Example] = []
    lost = Counter[str]()
    readers = {root: _read(folder, template) for root, folder in folders.items()}
    for example in examples:
        root = roots.get(example.generation.checkpoint, "")
        if (reader := readers.get(root)) is not None:
            example = reader(example)
            lost[root] += not example.generation.prompt
        done.append(example)
    return done, +lost


def _read(folder: Path, template: TemplateSettings) -> Callable[[Example], Example]:
    """What puts a base's answers into words."""
    tokenizer = read_tokenizer(folder)
    with rendering(tokenizer, template) as render:
        frame = read_frame(render)

    def decode(ids: Sequence[int]) -> str:
        return tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)

    def reader(example: Example) -> Example:
        return in_words(example, tokenizer=tokenizer, decode=decode, frame=frame)

    return reader


async def _read_roots(conn: Connection, checkpoints: set[str]) -> dict[str, str]:
    """The bases of those that are registered."""
    cursor = await conn.execute(
        "select id, root from ancestry where id = any(%s)", (list(checkpoints),)
    )
    return dict(await cursor.fetchall())
