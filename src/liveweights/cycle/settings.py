"""When the circle turns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from liveweights import bounds
from liveweights.catalog.template import TemplateSettings
from liveweights.engines.settings import EngineSettings
from liveweights.gate.settings import GateSettings
from liveweights.learn.rewards import RewardMap
from liveweights.learn.settings import LearnSettings
from liveweights.release.settings import CanarySettings, RetentionSettings, SigningSettings


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
    load_seconds: Annotated[
        float,
        Meta(
            gt=0,
            le=bounds.SECONDS,
            description="Longest wait for a candidate to be loaded and probed.",
        ),
    ] = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """What the cycles of one alias go by. ``learn_from`` is the alias of a hosted model whose
    answers teach, too, empty for none; ``cache`` is the folder of converted models. With a
    ``tenant`` the alias is that one's own branch of ``model``."""

    alias: str
    learn_from: str
    cycle: CycleSettings
    learn: LearnSettings
    rewards: RewardMap
    gate: GateSettings
    canary: CanarySettings
    retention: RetentionSettings
    signing: SigningSettings
    engine: EngineSettings
    template: TemplateSettings
    cache: Path
    tenant: str | None = None

    @property
    def model(self) -> str:
        """The public name that answers are recorded under, and that terms are asked about."""
        return self.alias if self.tenant is None else self.alias.removesuffix(f":{self.tenant}")
