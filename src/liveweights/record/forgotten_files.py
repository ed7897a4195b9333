"""A user's right to be forgotten, in the files of days too."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from liveweights.record.archive import archive, restore, rewrite
from liveweights.record.archive_lock import locked
from liveweights.record.archive_rows import Archived, ArchiveError, read_archives
from liveweights.record.clean import clip_person
from liveweights.record.day_files import check_files, find_files, find_leftovers, list_parts
from liveweights.record.forget import Also, Forgotten, forget
from liveweights.record.generation import EPISODE
from liveweights.record.parquet import (
    Conditions,
    find_values,
    iter_rows,
    iter_values,
    require_parquet,
)
from liveweights.record.response import response_of
from liveweights.record.threads import Threads, make_threads, read_threads
from liveweights.store.database import Connection
from liveweights.store.partitions import days


@dataclass(frozen=True, slots=True)
class ForgottenEverywhere:
    """``days`` are those whose files were written anew. ``left`` says in sentences which files may
    still hold the user's words, and what to do."""

    forgotten: Forgotten
    days: list[date]
    left: list[str]


async def forget_everywhere(
    conn: Connection, tenant: str, user: str, folder: Path, *, also: Also | None = None
) -> ForgottenEverywhere:
    """`forget`, in the files too. Days in files that have rows of the user are brought back and
    archived anew; of days that are in Postgres anyway, files that hold more than it are written
    anew. Killed anywhere, the same call finishes it.

    ``conn`` is outside any transaction. Raises ArchiveError, ParquetUnavailable: then nothing was
    forgotten.
    """
    user = clip_person(user)  # as it was recorded
    async with locked(conn):
        archives = [one for one in await read_archives(conn) if one.files or one.borrowed]
        if archives:
            require_parquet()
        away = [one for one in archives if one.is_away]
        threads = await read_threads(conn, tenant, user)
        await conn.commit()
        for one in await _find_days(folder, away, tenant, user, threads):
            await restore(conn, one, folder, borrow=True)
        forgotten = await forget(conn, tenant, user, also=also)
        written: list[date] = []
        left: list[str] = []
        for one in await read_archives(conn):
            try:
                if await _renew(conn, folder, one):
                    written.append(one.day)
            except (ArchiveError, OSError) as error:
                left.append(
                    f"the files of {one.day} may still hold rows that are removed: {error}; then"
                    " forget the user once more"
                )
        try:
            await _remove_leftovers(conn, folder)
        except OSError as error:
            left.append(
                f"files that a killed process left in {folder} may hold rows that are removed:"
                f" {error}"
            )
        return ForgottenEverywhere(forgotten, written, left)


async def _find_days(
    folder: Path, archives: Collection[Archived], tenant: str, user: str, threads: Threads
) -> list[date]:
    """Those whose files have rows of the user, or of a chat or conversation of the user's, which
    may have gone on on another day without a name."""
    answers = {one.day: list_parts(one.files, "generations") for one in archives}
    for one in archives:
        files = {name: one.files[name] for name in answers[one.day]}
        await asyncio.to_thread(check_files, folder, files)
    theirs: Conditions = [("tenant", "=", tenant), ("user_id", "=", user)]
    columns = ("endpoint", "id", "session", "metadata")
    found: set[date] = set()
    chats: set[tuple[str, str | None, str]] = set()
    for day, names in answers.items():
        for name in names:
            rows = await asyncio.to_thread(find_values, folder / name, columns, theirs)
            found |= {day} if rows else set()
            chats |= {tuple(rest) for endpoint, *rest in rows if endpoint == "chat"}
    threads = make_threads(
        threads.sessions.union(session for _, session, _ in chats if session),
        threads.episodes.union(_episode_in(metadata) for *_, metadata in chats) - {""},
        threads.responses.union(response_of(id) for id, *_ in chats),
    )
    for day, names in answers.items() if threads.sessions or threads.episodes else ():
        for name in names:
            if day not in found and await asyncio.to_thread(
                _goes_on, folder / name, tenant, threads
            ):
                found.add(day)
    return sorted(found)


def _goes_on(file: Path, tenant: str, threads: Threads) -> bool:
    """Whether answers are in it that name nobody and are of one of the threads."""
    nameless: Conditions = [
        ("tenant", "=", tenant), ("endpoint", "=", "chat"), ("user_id", "null", None),
    ]  # fmt: skip
    for column, names in (("session", threads.sessions), ("id", threads.answers)):
        if names and any(iter_rows(file, ("id",), [*nameless, (column, "in", names)])):
            return True
    tied = iter_rows(file, ("metadata",), [*nameless, ("metadata", "has", f'"{EPISODE}"')])
    return any(_episode_in(metadata) in threads.episodes for (metadata,) in tied)


def _episode_in(metadata: str) -> str:
    """Empty where none is named."""
    return msgspec.json.decode(metadata, type=dict[str, Any]).get(EPISODE, "")


async def _renew(conn: Connection, folder: Path, one: Archived) -> bool:
    """Whether the files of a day had to be written anew."""
    await conn.commit()
    if one.is_away:
        return False
    if one.borrowed:
        await archive(conn, one.day, folder)
    elif await _is_current(conn, folder, one):
        return False
    else:
        await rewrite(conn, one.day, folder)
    return True


async def _remove_leftovers(conn: Connection, folder: Path) -> None:
    """Postgres has the rows of such files, or had them until now."""
    archives = await read_archives(conn)
    named = {name for one in archives for name in one.files}
    known = {one.day for one in archives} | set(await days(conn))
    await conn.commit()
    for file in await asyncio.to_thread(find_leftovers, folder, named, known):
        file.unlink()


async def _is_current(conn: Connection, folder: Path, one: Archived) -> bool:
    """Whether the files of a day that is in Postgres hold no answer that is not there, and are
    those that its row names. Feedback goes with its answer."""
    there = await asyncio.to_thread(find_files, folder, one.day)
    if not there:
        return True
    try:
        await asyncio.to_thread(check_files, folder, one.files)
    except ArchiveError:
        return False
    if {file.name for file in there} != set(one.files):
        return False
    for name in list_parts(one.files, "generations"):
        for ids in iter_values(folder / name, "id"):
            cursor = await conn.execute(
                "select count(*) from generations where day = %s and id = any(%s)", (one.day, ids)
            )
            if await cursor.fetchone() != (len(set(ids)),):
                return False
    return True
