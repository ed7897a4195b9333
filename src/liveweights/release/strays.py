"""Checkpoints on disk that no database knows: a cycle ended between storing and registering one."""

from __future__ import annotations

import asyncio
import json

from liveweights.store.database import Connection
from liveweights.weights.registry import CARD, Registry


async def remove_strays(conn: Connection, registry: Registry) -> list[str]:
    """Remove what cycles that have ended left in the registry without registering it; the ids. What
    an open cycle has stored it registers, and what no cycle here made is others'."""
    stored = await asyncio.to_thread(registry.checkpoints)
    cursor = await conn.execute(
        "select id from unnest(%s::text[]) id where id not in (select a.id from ancestry a)",
        (stored,),
    )
    unknown = [id_ for (id_,) in await cursor.fetchall()]
    made_by = await asyncio.to_thread(_read_cycles, registry, unknown)
    cursor = await conn.execute(
        "select id from turns where ended_at is not null and id = any(%s)",
        (list(made_by.values()),),
    )
    ended = {id_ for (id_,) in await cursor.fetchall()}
    gone = [id_ for id_, cycle in made_by.items() if cycle in ended]
    for id_ in gone:
        await asyncio.to_thread(registry.remove, id_)
    return gone


def _read_cycles(registry: Registry, checkpoints: list[str]) -> dict[str, int]:
    """Which cycle made each, as its card says; without those that none did."""
    made_by: dict[str, int] = {}
    for id_ in checkpoints:
        try:
            card = json.loads((registry.folder / id_ / CARD).read_text())
        except FileNotFoundError:
            continue  # somebody else has just removed it
        if isinstance(cycle := card.get("cycle"), int):
            made_by[id_] = cycle
    return made_by
