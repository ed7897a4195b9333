"""Published counts of downloads and derivatives, as they were on a day."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from liveweights.catalog.cards import HubId

COLUMNS = ("model", "day", "downloads", "derivatives", "source")
Total = Annotated[int, Meta(ge=0, le=2**53)]


class SnapshotError(ValueError):
    """A line of a file is no snapshot; the message says which, and why."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All downloads of a model until a day, and models that say that they were derived from it.
    None: not counted. ``source`` says who did."""

    model: HubId
    day: datetime.date
    downloads: Total
    derivatives: Total | None = None
    source: Annotated[str, Meta(min_length=1, max_length=1000)]


def parse_snapshots(lines: Iterable[str]) -> list[Snapshot]:
    """CSV with a line of names: ``model, day, downloads, derivatives, source``. An empty cell of
    derivatives is not counted. Raises SnapshotError."""
    reader = csv.DictReader(lines)
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise SnapshotError(
            f"line 1 does not name {', '.join(missing)}; it names the columns {', '.join(COLUMNS)}"
        )
    return list(_parse(reader))


def _parse(reader: csv.DictReader[str]) -> Iterator[Snapshot]:
    try:
        for row in reader:
            yield _snapshot(row, reader.line_num)
    except csv.Error as error:
        raise SnapshotError(f"line {reader.line_num} is no CSV: {error}") from error


def _snapshot(row: Mapping[str, str | None], line: int) -> Snapshot:
    given = {name: row[name] for name in COLUMNS if row[name]}
    try:
        # Numbers and dates are texts in CSV.
        return msgspec.convert(given, Snapshot, strict=False)
    except msgspec.ValidationError as error:
        raise SnapshotError(f"line {line}: {error}") from error
