"""An engine that answers from a script, for tests of what is around engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from liveweights.engines.protocol import (
    ALL_GUIDANCE,
    EngineError,
    Sampling,
    Token,
    UnknownCheckpoint,
)
from liveweights.weights.checkpoint import Checkpoint


class ScriptedEngine:
    """Follows ``Engine``. ``tops`` are the raw log-probabilities that each checkpoint gives.

    Loading waits for ``gate`` and fails as often as ``failures`` says.
    """

    context_length = 64
    tolerance = 0.1
    guidance = ALL_GUIDANCE

    def __init__(self, tops: dict[str, dict[int, float]] | None = None) -> None:
        self.tops = tops or {}
        self.failures: dict[str, int] = {}
        self.loaded: list[str] = []
        self.unloaded: list[str] = []
        self.bases: dict[str, str | None] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self._resident: set[str] = set()

    def resident(self) -> frozenset[str]:
        return frozenset(self._resident)

    def crash(self, checkpoint_id: str) -> None:
        self._resident.discard(checkpoint_id)

    async def load(self, checkpoint: Checkpoint, base: Checkpoint | None = None) -> None:
        await self.gate.wait()
        if self.failures.get(checkpoint.id, 0) > 0:
            self.failures[checkpoint.id] -= 1
            raise EngineError(f"{checkpoint.id} fails by script")
        self.loaded.append(checkpoint.id)
        self.bases[checkpoint.id] = base.id if base else None
        self._resident.add(checkpoint.id)

    async def unload(self, checkpoint_id: str) -> None:
        if checkpoint_id in self._resident:
            self._resident.remove(checkpoint_id)
            self.unloaded.append(checkpoint_id)

    async def generate(
        self, checkpoint_id: str, prompt_ids: Sequence[int], sampling: Sampling
    ) -> AsyncIterator[Token]:
        if checkpoint_id not in self._resident:
            raise UnknownCheckpoint(checkpoint_id)
        top = sorted(self.tops.get(checkpoint_id, {}).items(), key=lambda pair: -pair[1])
        yield Token(0, "", 0.0, 0.0, tuple(top[: sampling.top_logprobs]), "length")

    async def close(self) -> None:
        self._resident.clear()
