"""What the API needs of whatever keeps the record."""

from __future__ import annotations

from typing import Protocol

from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation


class Recorder(Protocol):
    """``record.writer.Writer`` is the real one. Both methods raise WriterClosed."""

    async def add_generation(self, generation: Generation, /) -> None:
        """Returns once ``add_feedback`` for it can no longer miss it."""
        ...

    async def add_feedback(self, feedback: Feedback, /) -> bool:
        """Returns once durable: True if new, False for an identical repeat.

        Raises UnknownGeneration, ConflictingFeedback.
        """
        ...
