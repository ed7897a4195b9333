"""Checkpoints on disk that no database knows: a cycle ended between storing and registering one."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from liveweights.store.database import Connection
from liveweights.weights.registry import CARD, Registry

SLACK = timedelta(minutes=5)
"""Between the clocks of the database and of the machine, and for a step that was broken off."""


async def remove_strays(conn: Connection, registry: Registry) -> list[str]:
    """Remove what cycles that have ended left in the registry without registering it; the ids. What
    an open cycle has stored it registers; what no cycle of this database made, by its number and
    its time, is others'."""
    stored = await asyncio.to_thread(registry.checkpoints)
    cursor = await conn.execute(
        "select id from unnest(%s::text[]) id where id not in (select a.id from ancestry a)",
        (stored,),
    )
    unknown = [id_ for (id_,) in await cursor.fetchall()]
    made = await asyncio.to_thread(_read_origins, registry, unknown)
    cursor = await conn.execute(
        "select id, started_at, ended_at from turns where ended_at is not null and id = any(%s)",
        ([origin.cycle for origin in made.values()],),
    )
    ended = {id_: (started, over) for id_, started, over in await cursor.fetchall()}
    gone = [id_ for id_, origin in made.items() if origin.is_of(ended.get(origin.cycle))]
    for id_ in gone:
        await asyncio.to_thread(registry.remove, id_)
    return gone


class _Origin(NamedTuple):
    """The cycle that a card names, and when the card was written."""

    cycle: int
    at: datetime

    def is_of(self, span: tuple[datetime, datetime] | None) -> bool:
        """Whether it was written while that cycle went on: another database has such numbers."""
        return span is not None and span[0] - SLACK <= self.at <= span[1] + SLACK


def _read_origins(registry: Registry, checkpoints: list[str]) -> dict[str, _Origin]:
    """Of those that a cycle made."""
    made: dict[str, _Origin] = {}
    for id_ in checkpoints:
        file = registry.folder / id_ / CARD
        try:
            card, seconds = json.loads(file.read_text()), file.stat().st_mtime
        except FileNotFoundError:
            continue  # somebody else has just removed it
        if isinstance(cycle := card.get("cycle"), int):
            made[id_] = _Origin(cycle, datetime.fromtimestamp(seconds, UTC))
    return made
