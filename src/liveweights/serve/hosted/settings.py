"""What belongs to one hosted model."""

from __future__ import annotations

import os

import msgspec

from liveweights.meter.budgets import Budget
from liveweights.serve.hosted.dialect import Quirk


class MissingKey(ValueError):
    """The environment lacks the variable that a model's ``key_env`` names."""


class HostedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``model`` is its name at the ``upstream`` (a URL), ``timeout`` in seconds to the first byte
    of a streamed answer and ``answer_timeout`` to that of another, ``fallback`` the models that are
    asked in its place, the first one first, ``capabilities`` all that it is able to and ``context``
    how many tokens it takes; None: not said. ``budgets`` are what all its answers together may
    cost; ``visible`` is whether it is listed."""

    alias: str
    upstream: str
    model: str
    key_env: str
    timeout: float
    answer_timeout: float
    fallback: tuple[str, ...]
    capabilities: tuple[str, ...] | None = None
    quirks: tuple[Quirk, ...] = ()
    budgets: tuple[Budget, ...] = ()
    visible: bool = True
    context: int | None = None

    def read_key(self) -> str:
        """What the upstream is shown; empty where it asks for none. Raises MissingKey."""
        if not self.key_env:
            return ""
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            raise MissingKey(
                f"models.{self.alias}.key_env: the environment variable {self.key_env} is not set; "
                "set it to the upstream's API key, or leave key_env out"
            )
        return key
