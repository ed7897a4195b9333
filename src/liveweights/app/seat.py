"""A model as one instance runs it, and why one does not run."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from liveweights.app.terms import describe
from liveweights.model_table import ModelSettings
from liveweights.release.deployer import Deployer
from liveweights.release.models import Standing
from liveweights.serve.hosted.model import Hosted
from liveweights.serve.hosted.settings import HostedSettings
from liveweights.serve.models import Model
from liveweights.terms.decision import Match
from liveweights.weights.checkpoint import Checkpoint

RETRY = 30.0
"""Seconds after which a model that could not be opened is tried again."""


class CannotReplace(RuntimeError):
    """A model's new settings do not work; it goes on with those of before."""


class NotAllowed(RuntimeError):
    """The terms do not let a model be loaded."""

    def __init__(self, name: str, by: Match) -> None:
        super().__init__(describe(name, by))


@dataclass(slots=True, eq=False, kw_only=True)
class Seat:
    """A model as this instance runs it, local or hosted. ``version`` is its row's; None of the
    settings file's. What ``stack`` holds is closed once nobody uses it."""

    settings: ModelSettings | HostedSettings
    version: int | None
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    base: Checkpoint | None = None
    model: Model | None = None
    deployer: Deployer | None = None
    hosted: Hosted | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it answers under its name."""
        name, model = self.settings.alias, self.model
        return model is not None and any(
            route.name == name and model.router.ready(route.live) for route in model.router.routes()
        )

    def runs_on(self, settings: ModelSettings | HostedSettings) -> bool:
        """Whether what runs for it does for other settings, too."""
        before = self.settings
        if isinstance(before, ModelSettings) and isinstance(settings, ModelSettings):
            return before.runs_like(settings)
        return before == settings

    def standing(self, instance: str) -> Standing:
        """What is told of it."""
        name = self.settings.alias
        if self.model is None or self.deployer is None:
            return Standing(instance, name, "hosted", self.version)
        routes = [route for route in self.model.router.routes() if route.name == name]
        state = self.model.state(routes[0].live) if routes else "loading"
        error = next(iter(self.deployer.failures().values()), None)
        if state == "loading" and error is not None:
            state = "failed"
        return Standing(instance, name, state, self.version, error if state != "ready" else None)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the row's ``version`` does not run here, and when it is tried again (loop's time).
    ``denied``: because of the terms, which is a row."""

    version: int
    error: str
    retry_at: float
    denied: bool
