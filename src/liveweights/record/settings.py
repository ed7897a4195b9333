"""How long and where the record is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from liveweights import bounds
from liveweights.record import counts


class RecordSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[record]`` table."""

    spill_bytes: Annotated[
        int,
        Meta(
            ge=0,
            le=bounds.BYTES,
            description="Disk for answers that wait while Postgres is away; then the API "
            "waits too.",
        ),
    ] = 2**30
    late_seconds: Annotated[
        float,
        Meta(
            gt=0,
            le=bounds.SECONDS,
            description="Age of the oldest row that waits for Postgres from which on /healthz says "
            "that the record is late (503).",
        ),
    ] = 60.0
    feedback_per_answer: Annotated[
        int,
        Meta(
            ge=1,
            le=bounds.COUNT,
            description="Most feedback that one answer takes, about; more is refused (400). "
            "Each costs as much time as there is of it already.",
        ),
    ] = counts.MOST
    days: Annotated[
        int,
        Meta(
            ge=0,
            le=bounds.DAYS,
            description="Days for which generations and feedback stay in Postgres; 0: for ever. "
            "Rollups stay in any case. Feedback for what is not in Postgres is refused as unknown.",
        ),
    ] = 0
    metric_days: Annotated[
        int,
        Meta(
            ge=1, le=bounds.DAYS, description="Days for which samples of the instances' load stay."
        ),
    ] = 30
    response_days: Annotated[
        int,
        Meta(
            ge=0,
            le=bounds.DAYS,
            description="Days for which a response of /v1/responses is stored after it, or the "
            "last one that went on from it, was answered; 0: until it is deleted.",
        ),
    ] = 30
    archive: Annotated[
        bool,
        Meta(
            description="Write a day to Parquet files before it goes (needs liveweights[archive]); "
            "false: its rows are dropped for good, and files that are there stay."
        ),
    ] = True
    folder: Annotated[
        str, Meta(description="Where those files are; empty: in the home's folder `archive`.")
    ] = ""

    def archive_folder(self, home: Path) -> Path:
        return Path(self.folder).expanduser() if self.folder else home / "archive"
