"""What the processes of a running service know of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from liveweights.config import Config


@dataclass(frozen=True, slots=True)
class Place:
    """A running service's settings, home folder and database, and the key by which its processes
    know each other."""

    config: Config
    home: Path
    dsn: str
    key: str = ""

    def encode(self) -> str:
        parts = {
            "config": self.config,
            "home": str(self.home),
            "dsn": self.dsn,
            "key": self.key,
        }
        return msgspec.json.encode(parts).decode()

    @classmethod
    def decode(cls, text: str) -> Place:
        class Parts(msgspec.Struct):
            config: Config
            home: str
            dsn: str
            key: str

        parts = msgspec.json.decode(text, type=Parts)
        return cls(parts.config, Path(parts.home), parts.dsn, parts.key)
