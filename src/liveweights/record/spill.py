"""Rows on disk while Postgres is away.

A folder of segment files, oldest first by name, which also says how many rows. A segment begins
with ``HEAD``, which names the columns; each row has its length, its CRC-32, its day, and its bytes
as for COPY. A segment is removed when all of its rows are in Postgres; a crash before that only
means that they are offered again, and a row that is there already is left alone. A damaged one is
kept under another name.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from liveweights.record.binary import COLUMNS, Row, decode

log = logging.getLogger(__name__)

HEAD = b"liveweights rows 1\n" + " ".join(COLUMNS).encode() + b"\n"
_ROW = struct.Struct(">IIi")


class SpillInUse(RuntimeError):
    """Another process keeps its rows in that folder."""


class SpillUnreadable(RuntimeError):
    """A segment is not of this version; the message says what to do."""


class Spill:
    """Appends and removes whole segments. One process at a time.

    ``limit`` is in bytes: at that size ``full`` is true, and whoever appends should wait instead.
    Raises SpillInUse, and SpillUnreadable for segments of another version.
    """

    def __init__(self, folder: Path, limit: int = 2**30) -> None:
        self.folder = folder
        self.limit = limit
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / "lock").open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise SpillInUse(f"another process keeps its rows in {folder}") from None
        for torn in folder.glob("*.new"):
            torn.unlink()
        self._changing = threading.Lock()
        self._damaged: Path | None = None
        self._segments = sorted(folder.glob("*.rows"))
        self._bytes = sum(path.stat().st_size for path in self._segments)
        self._next = int(self._segments[-1].name[:10]) + 1 if self._segments else 1
        for path in self._segments:
            _check(path)

    @property
    def rows(self) -> int:
        """How many wait here."""
        return sum(int(path.stem[11:]) for path in self._segments)

    @property
    def bytes(self) -> int:
        """How large they are."""
        return self._bytes

    @property
    def since(self) -> float | None:
        """When the oldest came here, in seconds since 1970; None where none waits."""
        try:
            return self._segments[0].stat().st_mtime
        except (IndexError, FileNotFoundError):
            return None

    @property
    def full(self) -> bool:
        return self._bytes >= self.limit

    def close(self) -> None:
        self._lock.close()

    def append(self, rows: Sequence[Row]) -> None:
        """Return when the rows are safe on disk, as one new segment. Raises OSError."""
        with self._changing:
            path = self.folder / f"{self._next:010d}-{len(rows)}.rows"
            self._next += 1
            fresh = path.with_suffix(".new")
            try:
                size = _write(fresh, rows)
            except OSError:
                fresh.unlink(missing_ok=True)
                raise
            fresh.rename(path)
            self._sync_folder()
            self._segments.append(path)
            self._bytes += size

    def oldest(self) -> list[Row]:
        """The rows of the oldest segment, those that can be read. Raises OSError."""
        path = self._segments[0]
        rows, damage = _read(path)
        if damage is not None:
            self._damaged = path
        return rows

    def drop(self, unwanted: Callable[[Row], bool]) -> int:
        """Write segments anew without such rows; how many there were. What cannot be read of a
        damaged one is kept under another name. Raises OSError."""
        dropped = 0
        with self._changing:
            for place, path in reversed(list(enumerate(self._segments))):
                rows, damage = _read(path)
                kept = [row for row in rows if not unwanted(row)]
                if len(kept) == len(rows):
                    continue
                dropped += len(rows) - len(kept)
                before = path.stat().st_size
                size = 0
                if kept:
                    fresh = path.with_suffix(".new")
                    size = _write(fresh, kept)
                    name = f"{path.name[:10]}-{len(kept)}.rows"
                    fresh.rename(self.folder / name)
                    self._segments[place] = self.folder / name
                else:
                    del self._segments[place]
                if damage is not None:
                    rest = path.read_bytes()[damage:]
                    path.with_suffix(".damaged").write_bytes(HEAD + rest)
                path.unlink()
                self._bytes += size - before
            self._sync_folder()
        return dropped

    def remove_oldest(self) -> None:
        """Its rows are in Postgres. A damaged one is renamed: its other rows are not."""
        with self._changing:
            path = self._segments.pop(0)
            self._bytes -= path.stat().st_size
            if path == self._damaged:
                path.rename(path.with_suffix(".damaged"))
            else:
                path.unlink()
            self._sync_folder()

    def _sync_folder(self) -> None:
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _read(path: Path) -> tuple[list[Row], int | None]:
    """The rows of a segment up to where it is damaged, and where that is, if it is."""
    with path.open("rb") as file:
        file.seek(len(HEAD))
        rows: list[Row] = []
        while True:
            place = file.tell()
            if not (head := file.read(_ROW.size)):
                return rows, None
            try:
                size, checksum, _ = _ROW.unpack(head)
                data = file.read(size)
                if zlib.crc32(data) != checksum:
                    raise ValueError("the checksum differs")
                rows.append(decode(data))
            except (struct.error, LookupError, ValueError) as error:
                log.error("%s is damaged after %d rows: %s", path, len(rows), error)
                return rows, place


def _write(path: Path, rows: Sequence[Row]) -> int:
    """How large the file is."""
    with path.open("wb") as file:
        file.write(HEAD)
        for row in rows:
            head = _ROW.pack(len(row.data), zlib.crc32(row.data), row.day.toordinal())
            file.write(head + row.data)
        size = file.tell()
        file.flush()
        os.fsync(file.fileno())
    return size


def _check(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(HEAD)) != HEAD:
            raise SpillUnreadable(
                f"{path} was written by another version of liveweights: start that version once "
                "with Postgres running, so that it writes the rows, or remove the file"
            )
