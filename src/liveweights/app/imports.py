"""Writing what old logs hold into the record, in pieces that may be written again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from itertools import islice

import msgspec

from liveweights import bounds
from liveweights.meter.ledger import Ledger
from liveweights.record.archive_rows import read_archives
from liveweights.record.batch import FIND
from liveweights.record.clean import InvalidRow
from liveweights.record.errors import ConflictingFeedback
from liveweights.record.forget import hash_of, read_forgotten
from liveweights.record.generation import Generation
from liveweights.record.writer import Writer
from liveweights.serve.gateway.logs import Logged
from liveweights.store.database import Pool
from liveweights.store.partitions import day_of

PIECE = 200
"""Lines that are written and looked up at a time."""


class ImportRefused(ValueError):
    """What the logs hold cannot be recorded; the message says what and why."""


class Imported(msgspec.Struct, kw_only=True):
    """What became of the lines. ``forgotten`` are answers of users who asked to be forgotten, and
    are left out."""

    generations: int = 0
    generations_known: int = 0
    feedback: int = 0
    feedback_known: int = 0
    forgotten: int = 0


async def check_days(pool: Pool, days: Iterable[date]) -> None:
    """Raises ImportRefused where the rows of one of ``days`` are archived: a day leaves Postgres
    as a whole, and comes back so."""
    async with pool.connection() as conn:
        gone = {one.day for one in await read_archives(conn) if one.is_away}
    if found := sorted(gone & set(days)):
        raise ImportRefused(
            f"the rows of {', '.join(map(str, found))} are archived: bring the days back with "
            f"`liveweights restore {found[0]}` first"
        )


async def write_logs(
    pool: Pool,
    lines: Iterable[Logged],
    *,
    tell: Callable[[int], None] | None = None,
) -> Imported:
    """Record ``lines``, charging nothing, and ``tell`` after each piece how many are done.

    Interrupted, it can be called again with the same lines: what is there stays as it is. Raises
    ImportRefused, WriterClosed.
    """
    imported = Imported()
    async with pool.connection() as conn:
        gone = await read_forgotten(conn)
    # What the operator has is taken, however much it is.
    ledger = Ledger(imported=True)
    async with Writer(pool, charge=ledger, imported=True, most_feedback=bounds.COUNT) as writer:
        done, left = 0, iter(lines)
        while piece := list(islice(left, PIECE)):
            await _write(pool, writer, list(_kept(piece, gone, imported)), imported)
            done += len(piece)
            if tell:
                tell(done)
    return imported


def _kept(piece: Iterable[Logged], gone: set[bytes], imported: Imported) -> Iterator[Logged]:
    for line in piece:
        first = line.generations[0]
        if first.user is not None and hash_of(first.tenant, first.user) in gone:
            imported.forgotten += len(line.generations)
        else:
            yield line


async def _write(pool: Pool, writer: Writer, piece: list[Logged], imported: Imported) -> None:
    generations = {one.id: one for line in piece for one in line.generations}
    known = await _find(pool, generations)
    for id, generation in generations.items():
        if id not in known:
            await writer.add_generation(generation)
    await writer.flush()
    missing = generations.keys() - await _find(pool, generations)
    if missing:
        first = generations[min(missing)]
        raise ImportRefused(
            f"{len(missing)} answers could not be recorded, the first of {first.created_at} by "
            f"{first.checkpoint}; the service's log says why"
        )
    said = [one for line in piece for one in line.feedback]
    results = await asyncio.gather(*map(writer.add_feedback, said), return_exceptions=True)
    for feedback, result in zip(said, results, strict=True):
        if isinstance(result, ConflictingFeedback):
            raise ImportRefused(
                f"feedback {feedback.id!r} ({feedback.signal}, {feedback.received_at}) exists "
                "already and says something else: give it another id"
            ) from result
        if isinstance(result, InvalidRow):
            raise ImportRefused(str(result)) from result
        if isinstance(result, BaseException):
            raise result
    new = sum(bool(result) for result in results)
    imported.generations += len(generations.keys() - known)
    imported.generations_known += len(known)
    imported.feedback += new
    imported.feedback_known += len(said) - new


async def _find(pool: Pool, generations: Mapping[str, Generation]) -> set[str]:
    """Those that are in Postgres."""
    which = {"ids": list(generations), "days": sorted({day_of(id) for id in generations})}
    async with pool.connection() as conn:
        cursor = await conn.execute(FIND, which)
        return {id for (id,) in await cursor.fetchall()}
