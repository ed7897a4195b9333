from __future__ import annotations

from tests.learn.updaters.conformance import moe

__all__ = ["moe"]
