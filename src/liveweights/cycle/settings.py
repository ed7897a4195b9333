"""When the circle turns."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class CycleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[cycle]`` table."""

    every: Annotated[float, Meta(gt=0, description="Seconds between cycles.")] = 5400.0
    min_feedback: Annotated[
        int, Meta(ge=1, description="Unread feedback after which a cycle starts before its time.")
    ] = 1000
    lease: Annotated[
        float, Meta(gt=1, description="Seconds after which a silent worker's cycle is taken over.")
    ] = 20.0
    poll: Annotated[float, Meta(gt=0, description="Seconds between looks at the state.")] = 1.0
    replay_rows: Annotated[
        int,
        Meta(
            ge=0,
            description=(
                "Most held-back prompts, of this cycle and of earlier ones, that candidate and"
                " incumbent both answer."
            ),
        ),
    ] = 200
    load_seconds: Annotated[
        float, Meta(gt=0, description="Longest wait for a candidate to be loaded and probed.")
    ] = 300.0
