"""What can be set about the databases for agents."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from liveweights import bounds

MIB = 2**20


class DatabaseSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    port: Annotated[
        int,
        Meta(ge=0, le=65535, description="TCP port on 127.0.0.1; 0 takes and keeps a free one."),
    ] = 0
    durable: Annotated[
        bool,
        Meta(
            description="Survive a crash of the machine (fsync). Off, they survive the death of"
            " any process, and forking is several times faster."
        ),
    ] = False
    ttl: Annotated[
        float,
        Meta(ge=0, le=bounds.SECONDS, description="Seconds until a database is deleted; 0: never."),
    ] = 86_400.0
    size_mb: Annotated[
        int,
        Meta(
            ge=16,
            le=bounds.MIB,
            description="Largest size of a database in MiB, checked every `interval`.",
        ),
    ] = 1024
    idle: Annotated[
        float,
        Meta(
            gt=0,
            le=bounds.SECONDS,
            description="Seconds without a query until a database is paused.",
        ),
    ] = 900.0
    max_ttl: Annotated[
        float,
        Meta(
            gt=0,
            le=bounds.SECONDS,
            description="Longest ttl that an agent may ask for, in seconds.",
        ),
    ] = 604_800.0
    max_size_mb: Annotated[
        int,
        Meta(
            ge=16,
            le=bounds.MIB,
            description="Largest size limit that an agent may ask for, in MiB.",
        ),
    ] = 4096
    count: Annotated[int, Meta(ge=1, le=bounds.COUNT, description="Most databases at a time.")] = (
        1000
    )
    count_of_agent: Annotated[
        int,
        Meta(
            ge=1,
            le=bounds.COUNT,
            description="Most databases at a time of one owner that is an agent.",
        ),
    ] = 50
    connections: Annotated[
        int, Meta(ge=10, le=100_000, description="Most connections to all databases together.")
    ] = 150
    connections_each: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Most connections to one database by one of its two roles.",
        ),
    ] = 20
    session_memory_mb: Annotated[
        int,
        Meta(
            ge=0,
            le=bounds.MIB,
            description="Most memory of one connection in MiB (address space, Linux); 0: no limit.",
        ),
    ] = 512
    free_disk_mb: Annotated[
        int,
        Meta(
            ge=0,
            le=bounds.COUNT,
            description="With less free disk, in MiB, nothing is made or forked; with less than"
            " half of it, databases that grow are closed until there is so much again.",
        ),
    ] = 1024
    statement_seconds: Annotated[
        float, Meta(gt=0, le=bounds.SECONDS, description="Longest run of one `sql` call.")
    ] = 60.0
    rows: Annotated[
        int, Meta(ge=1, le=bounds.COUNT, description="Most rows that one `sql` call returns.")
    ] = 1000
    interval: Annotated[
        float,
        Meta(
            ge=bounds.LEAST_SECONDS,
            le=bounds.SECONDS,
            description="Seconds between two checks of sizes, ages and idleness.",
        ),
    ] = 2.0
    linger: Annotated[
        float,
        Meta(
            gt=0,
            le=bounds.SECONDS,
            description="Seconds without an open database until the server is stopped.",
        ),
    ] = 600.0
