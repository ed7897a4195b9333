"""What the processes of a running service know of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from liveweights.app.profiles import Known
from liveweights.app.running import url_of
from liveweights.config import Config
from liveweights.model_table import ModelSettings
from liveweights.serve.hosted.settings import HostedSettings
from liveweights.terms.decision import Match


@dataclass(frozen=True, slots=True)
class Place:
    """A running service's settings, home folder and database, and the key by which its processes
    know each other."""

    config: Config
    home: Path
    dsn: str
    key: str = ""
    closed: Mapping[str, Match] = field(default_factory=dict[str, Match])
    """Models that were not loaded, by the rule of use that denied it."""
    known: Mapping[str, Known] | None = None
    """What was known at the start of the models of the settings; None: it was not looked up."""

    @property
    def url(self) -> str:
        """Where its processes ask its API."""
        return url_of(self.config.api.host, self.config.api.port)

    def list_models(self) -> list[ModelSettings]:
        """Those with a base of ours that may be loaded."""
        return [one for one in self.config.list_models() if one.alias not in self.closed]

    def list_hosted(self) -> list[HostedSettings]:
        """Those of upstreams that may be."""
        return [one for one in self.config.list_hosted() if one.alias not in self.closed]

    def encode(self) -> str:
        parts = {
            "config": self.config,
            "home": str(self.home),
            "dsn": self.dsn,
            "key": self.key,
            "closed": dict(self.closed),
            "known": self.known,
        }
        return msgspec.json.encode(parts).decode()

    @classmethod
    def decode(cls, text: str) -> Place:
        class Parts(msgspec.Struct):
            config: Config
            home: str
            dsn: str
            key: str
            closed: dict[str, Match]
            known: dict[str, Known] | None

        parts = msgspec.json.decode(text, type=Parts)
        return cls(parts.config, Path(parts.home), parts.dsn, parts.key, parts.closed, parts.known)
