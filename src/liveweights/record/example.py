"""What is learnt from, and judged on: an answer with the reactions to it."""

from __future__ import annotations

from dataclasses import dataclass

from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation


@dataclass(frozen=True, slots=True)
class Example:
    """A generation with all feedback that was known when it was claimed, as it arrived."""

    generation: Generation
    feedback: tuple[Feedback, ...]
