"""Which checkpoints may go from disk. What is needed never does."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from liveweights.release.deployments import read_desired
from liveweights.release.settings import RetentionSettings
from liveweights.release.strays import remove_strays
from liveweights.store.database import Connection
from liveweights.weights.registry import Registry, mark_pruned, read_pruned, size_of
from liveweights.weights.staging import sweep

GB = 1e9


@dataclass(frozen=True, slots=True)
class Stored:
    """A checkpoint on disk. ``last_live`` is when it last became live, None if it never was."""

    id: str
    created_at: datetime
    last_live: datetime | None
    size: int


@dataclass(frozen=True, slots=True)
class Doomed:
    """A checkpoint that may go, and by which rule."""

    id: str
    size: int
    why: str


Also = Callable[[Connection, Doomed], Awaitable[None]]


def choose(
    stored: Sequence[Stored],
    needed: Mapping[str, str],
    settings: RetentionSettings,
    *,
    now: datetime,
    free: int,
) -> list[Doomed]:
    """What the policy lets go, oldest first. Nothing in ``needed`` (id to reason) is in it."""
    spare = [one for one in stored if one.id not in needed]
    released = sorted(
        (one for one in stored if one.last_live), key=lambda s: (s.last_live, s.id), reverse=True
    )
    kept = {one.id for one in released[: settings.released]}
    since = now - timedelta(days=settings.days)
    doomed: dict[str, Doomed] = {}
    for one in spare:
        if one.last_live is None and one.created_at < since:
            why = f"never live, and older than {settings.days:g} days"
        elif one.last_live is not None and one.id not in kept:
            why = f"not among the last {settings.released} that were live"
        else:
            continue
        doomed[one.id] = Doomed(one.id, one.size, why)
    free += sum(one.size for one in doomed.values())
    for one in sorted(spare, key=lambda s: (s.last_live or s.created_at, s.id)):
        if free >= settings.free_gb * GB:
            break
        if one.id not in doomed:
            doomed[one.id] = Doomed(one.id, one.size, f"less than {settings.free_gb:g} GB free")
            free += one.size
    ages = {one.id: (one.last_live or one.created_at, one.id) for one in stored}
    return sorted(doomed.values(), key=lambda d: ages[d.id])


async def read_needed(conn: Connection, targets: int) -> dict[str, str]:
    """Every checkpoint that must stay, and the first reason why; of all models, served or not."""
    desired = await read_desired(conn, whole=True)
    needed: dict[str, str] = {}

    def need(checkpoint: str | None, why: str) -> None:
        if checkpoint:
            needed.setdefault(checkpoint, why)

    for alias in desired.aliases:
        need(alias.live, f"live on {alias.name!r}")
        need(alias.canary, f"canary of {alias.name!r}")
        for checkpoint in desired.former.get(alias.name, [])[:targets]:
            need(checkpoint, f"rollback target of {alias.name!r}")
    for checkpoint in desired.warm:
        need(checkpoint, "held warm")
    cursor = await conn.execute("select id, incumbent, candidate from turns where ended_at is null")
    for cycle, incumbent, candidate in await cursor.fetchall():
        need(incumbent, f"incumbent of cycle {cycle}")
        need(candidate, f"candidate of cycle {cycle}")
    cursor = await conn.execute(
        "select distinct checkpoint from deployments where state in ('ready', 'loading')"
        " and updated_at > now() - interval '1 minute'"
    )
    for (checkpoint,) in await cursor.fetchall():
        need(checkpoint, "resident")
    cursor = await conn.execute(
        "with recursive whole as ("
        " select id, base, parent, changes_parent, id as for_ from ancestry where id = any(%s)"
        " union select c.id, c.base, c.parent, c.changes_parent, whole.for_"
        "  from ancestry c join whole on c.id = whole.base"
        "  or (c.id = whole.parent and whole.changes_parent))"
        " select id, for_ from whole",
        (list(needed),),
    )
    for checkpoint, user in await cursor.fetchall():
        need(checkpoint, f"part of {user}")
    return needed


async def read_stored(conn: Connection, registry: Registry) -> list[Stored]:
    """Checkpoints of this registry that are on disk and not pruned."""
    cursor = await conn.execute(
        "select c.id, c.created_at, (select max(at) from releases r where r.checkpoint = c.id"
        "  and r.action in ('create', 'promote', 'rollback', 'switch'))"
        " from ancestry c where c.kind <> 'base' and c.pruned_at is null order by c.created_at"
    )
    stored: list[Stored] = []
    for id_, created, last_live in await cursor.fetchall():
        folder = registry.folder / id_
        if folder.is_dir():
            stored.append(Stored(id_, created, last_live, size_of(folder)))
    return stored


async def find_doomed(
    conn: Connection, registry: Registry, settings: RetentionSettings
) -> list[Doomed]:
    """What `prune` would take now."""
    cursor = await conn.execute("select now()")
    row = await cursor.fetchone()
    assert row is not None
    needed = await read_needed(conn, settings.rollback_targets)
    stored = await read_stored(conn, registry)
    registry.folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(registry.folder).free
    return choose(stored, needed, settings, now=row[0], free=free)


async def prune(
    conn: Connection,
    registry: Registry,
    cache: Path,
    settings: RetentionSettings,
    *,
    also: Also | None = None,
) -> list[Doomed]:
    """Take what the policy lets go; what was made of it for an engine goes too.

    A checkpoint is marked in the database before its files go, with its row locked against every
    alias change, and everything is looked at again under that lock: what became needed stays.
    ``also`` is awaited in the transaction that marks it. A crash in between leaves files that the
    next call removes, with what was left half made or unregistered in the registry, and the cache.
    """
    for doomed in await find_doomed(conn, registry, settings):
        async with conn.transaction():
            await conn.execute("select 1 from ancestry where id = %s for update", (doomed.id,))
            if doomed.id not in await read_needed(conn, settings.rollback_targets):
                await mark_pruned(conn, doomed.id)
                if also is not None:
                    await also(conn, doomed)
    await conn.commit()
    gone = await remove_pruned(conn, registry, cache)
    await remove_strays(conn, registry)
    registry.sweep()
    for folder in (cache / kind for kind in (*MADE, MODELS)):
        await asyncio.to_thread(sweep, folder, LEFT_SECONDS)
    await asyncio.to_thread(sweep, cache, LEFT_UPLOAD_SECONDS)
    return gone


async def remove_pruned(conn: Connection, registry: Registry, cache: Path) -> list[Doomed]:
    """Take away the files of checkpoints that are marked so, with what was made of them for an
    engine."""
    gone: list[Doomed] = []
    for id_ in await read_pruned(conn):
        size = registry.remove(id_)
        for kind in MADE:
            for made in (cache / kind).glob(f"{id_}*"):
                size += await asyncio.to_thread(_remove, made)
        if size:
            gone.append(Doomed(id_, size, "pruned"))
    return gone


def _remove(made: Path) -> int:
    """A file or a folder; the bytes that it had."""
    if made.is_dir():
        size = size_of(made)
        shutil.rmtree(made, ignore_errors=True)
        return size
    size = made.stat().st_size
    made.unlink(missing_ok=True)
    return size


MADE = ("gguf", "openvino", "whole")
"""Folders of the cache: what was made of checkpoints, named after them."""
MODELS = "models"
"""The folder of the cache with what was made of bases."""
LEFT_SECONDS = 3600.0
"""Without a write, after which a conversion is over that nobody holds the lock of."""
LEFT_UPLOAD_SECONDS = 86400.0
"""The same of an upload, which is written before it is sent and has no lock."""
RESUMED = ("resume.pt", "*.partial", "tmp*")
"""What only an update that goes on needs, and what a killed one leaves half written."""
WORK = ("job.json", "result.json", "progress.json", "weights")
"""What an update reads and leaves behind; the weights are in the registry by then."""


async def remove_work(conn: Connection, home: Path, keep: int) -> None:
    """Remove the updates' files of all ended cycles but the last ``keep`` of each alias, and of
    these too what only an open one needs."""
    cursor = await conn.execute(
        "select id, ended_at is null from (select id, ended_at, row_number() over"
        "  (partition by alias order by ended_at desc nulls first) as place from turns) c"
        " where ended_at is null or place <= %s",
        (keep,),
    )
    kept = {str(id_): is_open for id_, is_open in await cursor.fetchall()}
    for folder in (home / "cycles").glob("*"):
        if kept.get(folder.name):
            continue
        for made in (made for pattern in RESUMED for made in folder.glob(pattern)):
            _remove(made)
        if folder.name in kept:
            continue
        for name in WORK:
            if (made := folder / name).exists():
                _remove(made)
