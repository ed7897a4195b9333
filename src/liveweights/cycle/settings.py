"""When the circle turns."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from liveweights import bounds


class CycleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[cycle]`` table."""

    every: Annotated[
        float,
        Meta(ge=bounds.LEAST_SECONDS, le=bounds.SECONDS, description="Seconds between cycles."),
    ] = 5400.0
    min_feedback: Annotated[
        int,
        Meta(
            ge=1,
            le=bounds.COUNT,
            description=(
                "Answers with new feedback that carries a reward after which a cycle starts before"
                " its time."
            ),
        ),
    ] = 1000
    rest: Annotated[
        float,
        Meta(
            ge=0,
            le=bounds.SECONDS,
            description="Least seconds between the end of a cycle and the start of the next,"
            " however much feedback comes in.",
        ),
    ] = 600.0
    lease: Annotated[
        float,
        Meta(
            gt=1,
            le=bounds.SECONDS,
            description="Seconds after which a silent worker's cycle is taken over.",
        ),
    ] = 20.0
    poll: Annotated[
        float,
        Meta(
            ge=bounds.LEAST_SECONDS,
            le=bounds.SECONDS,
            description="Seconds between looks at the state.",
        ),
    ] = 1.0
    replay_rows: Annotated[
        int,
        Meta(
            ge=0,
            le=bounds.COUNT,
            description=(
                "Most held-back prompts, of this cycle and of earlier ones, that candidate and"
                " incumbent both answer."
            ),
        ),
    ] = 200
    load_seconds: Annotated[
        float,
        Meta(
            gt=0,
            le=bounds.SECONDS,
            description="Longest wait for a candidate to be loaded and probed.",
        ),
    ] = 300.0
