"""The files of a day: one per table, and further parts for rows that came when it was in files."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from liveweights.record.archive_rows import ArchiveError
from liveweights.record.parquet import hash_of, write_table
from liveweights.store.database import Connection
from liveweights.store.partitions import TABLES

_PART = re.compile(r"\.(\d+)\.parquet\Z")


@dataclass(frozen=True, slots=True)
class Look:
    """What tells whether rows of a day came or went: how many there are, and the last feedback's
    number."""

    generations: int
    feedback: int
    last: int

    @property
    def counts(self) -> tuple[int, int]:
        return self.generations, self.feedback


def name_file(day: date, table: str, part: int = 1) -> str:
    number = "" if part == 1 else f".{part}"
    return f"{day:%Y-%m-%d}.{table}{number}.parquet"


def part_of(name: str) -> int:
    match = _PART.search(name)
    return int(match[1]) if match else 1


def list_parts(names: Iterable[str], table: str) -> list[str]:
    """Those of ``names`` that hold rows of the table, the first part first."""
    return sorted((name for name in names if name.split(".")[1] == table), key=part_of)


def find_files(folder: Path, day: date) -> list[Path]:
    """What there is of the day, complete or not, whether a row of the table names it or not."""
    return sorted(folder.glob(f"{day:%Y-%m-%d}.*.parquet*"))


def remove_files(folder: Path, day: date, keep: Iterable[str]) -> None:
    """Remove all files of the day but ``keep``."""
    kept = set(keep)
    for file in find_files(folder, day):
        if file.name not in kept:
            file.unlink()


def find_leftovers(folder: Path, named: Container[str], days: Container[date | None]) -> list[Path]:
    """Files of ``days`` that nothing names: a process was killed before it could, or before they
    were complete."""
    return sorted(
        file
        for file in folder.glob("*.parquet*")
        if file.name not in named and _day_in(file.name) in days
    )


def _day_in(name: str) -> date | None:
    try:
        return date.fromisoformat(name.partition(".")[0])
    except ValueError:
        return None


def check_files(folder: Path, files: Mapping[str, str]) -> None:
    """``files`` are SHA-256 by name. Raises ArchiveError where one is not as it was written."""
    for name, digest in files.items():
        file = folder / name
        if not file.is_file():
            raise ArchiveError(f"{file} is missing")
        if hash_of(file) != digest:
            raise ArchiveError(f"{file} is not the file that was written: its SHA-256 differs")


async def look(conn: Connection, day: date) -> Look:
    cursor = await conn.execute(
        "select (select count(*) from generations where day = %(day)s), count(*),"
        " coalesce(max(seq), 0) from feedback where day = %(day)s",
        {"day": day},
    )
    row = await cursor.fetchone()
    assert row is not None
    return Look(*row)


async def write_files(
    conn: Connection, day: date, folder: Path, part: int
) -> tuple[Look, dict[str, str]]:
    """Write all rows of ``day`` that are in Postgres, of one moment, as the part of that number;
    what they are, and the SHA-256 of the files by name.

    ``conn`` is outside any transaction. Raises ArchiveError.
    """
    async with conn.transaction():
        await conn.execute("set transaction isolation level repeatable read")
        seen = await look(conn, day)
        files: dict[str, str] = {}
        for table, count in zip(TABLES, seen.counts, strict=True):
            file = folder / name_file(day, table, part)
            written = await write_table(conn, table, day, file)
            if written != count:
                raise ArchiveError(f"{file} has {written} rows of {count}")
            files[file.name] = await asyncio.to_thread(hash_of, file)
    return seen, files
