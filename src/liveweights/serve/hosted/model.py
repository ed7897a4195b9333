"""A model that another server runs."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from liveweights.serve.gateway.access import Access
from liveweights.serve.gateway.upstream import Upstream
from liveweights.serve.hosted.breaker import Breaker
from liveweights.serve.hosted.settings import HostedSettings
from liveweights.serve.hosted.version import UNSAID, Version, checkpoint_id


@dataclass(slots=True)
class Reported:
    """The version that the upstream named last."""

    version: Version = UNSAID


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosted:
    """``upstream`` is open. ``key`` is what it is shown, empty for nothing; ``access`` is there
    where callers' keys are ours, so that the upstream cannot tell them apart."""

    settings: HostedSettings
    upstream: Upstream
    key: str
    access: Access | None = None
    breaker: Breaker = field(default_factory=Breaker)
    reported: Reported = field(default_factory=Reported)
    since: int = field(default_factory=lambda: int(time.time()))

    @property
    def alias(self) -> str:
        return self.settings.alias

    @property
    def checkpoint(self) -> str:
        """What answered last."""
        return checkpoint_id(self.settings.upstream, self.settings.model, self.reported.version)

    def note_version(self, model: str, fingerprint: str) -> str:
        """The id of what answers, where the upstream says this of it; ``checkpoint`` from then
        on."""
        self.reported.version = Version(model, fingerprint)
        return self.checkpoint
