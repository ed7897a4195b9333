"""Who is replayed, how they ask, and what is measured."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from liveweights import bounds


class TrafficSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Several developers at once, each typing one file after the other."""

    developers: Annotated[
        int, Meta(description="Developers who type at the same time.", ge=1, le=256)
    ] = 4
    rate: Annotated[
        float,
        Meta(description="Most suggestions asked for per second, all together.", gt=0, le=1e5),
    ] = 8.0
    share: Annotated[
        float, Meta(description="Share of code lines at which the editor asks.", gt=0, le=1)
    ] = 0.5
    mid_share: Annotated[
        float, Meta(description="Share of these asked in mid-line, not after Enter.", ge=0, le=1)
    ] = 0.5
    window: Annotated[
        int,
        Meta(description="Characters of context that a prompt holds at most.", ge=200, le=2**24),
    ] = 1000
    session_positions: Annotated[
        int,
        Meta(
            description="Requests of one session before the developer opens another file.",
            ge=1,
            le=bounds.COUNT,
        ),
    ] = 24
    temperature: Annotated[
        float, Meta(description="Sampling temperature of the developers' requests.", ge=0, le=2)
    ] = 0.4
    max_tokens: Annotated[int, Meta(description="Longest suggestion, in tokens.", ge=1, le=256)] = (
        32
    )
    max_requests: Annotated[
        int,
        Meta(
            description="Stop after this many suggestions; 0 means no limit.", ge=0, le=bounds.COUNT
        ),
    ] = 0
    timeout: Annotated[
        float,
        Meta(
            description="Seconds after which an unanswered request has failed.",
            gt=0,
            le=bounds.SECONDS,
        ),
    ] = 60.0
    seed: Annotated[
        int,
        Meta(
            ge=-bounds.COUNT, le=bounds.COUNT, description="Fixes files, positions and their order."
        ),
    ] = 0


class MeasureSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which held-out positions are asked, and how."""

    files: Annotated[
        int,
        Meta(description="Held-out files of packages that traffic types.", ge=2, le=bounds.COUNT),
    ] = 60
    package_files: Annotated[
        int,
        Meta(
            description="Files of packages that no traffic touches; 0: no such figure.",
            ge=0,
            le=bounds.COUNT,
        ),
    ] = 30
    least: Annotated[
        int,
        Meta(
            description="Fewest held-out positions of a proof, however slow the machine.",
            ge=2,
            le=bounds.COUNT,
        ),
    ] = 60
    positions: Annotated[
        int, Meta(description="Positions per file, one after the other.", ge=1, le=bounds.COUNT)
    ] = 6
    concurrency: Annotated[int, Meta(description="Requests at the same time.", ge=1, le=4096)] = 4


class Rewards(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an outcome is worth in the scorecard."""

    accepted: Annotated[
        float, Meta(ge=-1, le=1, description="The suggestion was taken as it was.")
    ] = 0.75
    rejected: Annotated[
        float, Meta(ge=-1, le=1, description="Something else was written instead.")
    ] = -0.25
    silence: Annotated[float, Meta(ge=-1, le=1, description="Nothing was shown.")] = 0.0


class DemoOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `make demo` runs."""

    folder: Annotated[str, Meta(description="Where everything of the run is kept.")] = "runs/demo"
    minutes: Annotated[
        float,
        Meta(
            description="The circle goes on turning until a checkpoint is shown to be better and"
            " so many minutes have passed, or two are.",
            gt=0,
            le=1e6,
        ),
    ] = 4.0
    most_minutes: Annotated[
        float, Meta(description="It ends after this long, shown or not.", gt=0, le=1e6)
    ] = 20.0
    releases: Annotated[
        int,
        Meta(description="Releases to demand; 0: as many as there are.", ge=0, le=bounds.COUNT),
    ] = 0
    long: Annotated[
        bool, Meta(description="Two proofs are not enough: go on for all of ``minutes``.")
    ] = False
    alias: Annotated[str, Meta(description="The model name that the developers ask for.")] = "code"
    model: Annotated[str, Meta(description="Model to serve; empty: the packaged one.")] = ""
    port: Annotated[
        int, Meta(description="TCP port of the API; 0: a free one.", ge=0, le=65535)
    ] = 0
    keep: Annotated[bool, Meta(description="Leave the service running at the end.")] = False
    plain: Annotated[bool, Meta(description="Progress as lines, even on a terminal.")] = False
    traffic: TrafficSettings = TrafficSettings()
    measure: MeasureSettings = MeasureSettings()
    rewards: Rewards = Rewards()
    config: Annotated[
        dict[str, object], Meta(description="Settings of the service: section -> key -> value.")
    ] = msgspec.field(default_factory=dict[str, object])
