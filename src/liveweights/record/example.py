"""What is learnt from, and judged on: an answer, or an episode of them, with its reactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation


@dataclass(frozen=True, slots=True)
class Example:
    """A generation with all feedback that was known when it was claimed, as it arrived."""

    generation: Generation
    feedback: tuple[Feedback, ...]


@dataclass(frozen=True, slots=True)
class Episode:
    """``steps`` in the order in which they were asked for, and what was said of all of them."""

    tenant: str
    name: str
    steps: tuple[Example, ...]

    @property
    def key(self) -> str:
        return f"{self.tenant}\0{self.name}"

    def said(self) -> list[Feedback]:
        """What was said of the whole, once each, in the order of its arrival. Said again, to reach
        later steps, it counts from when it was said first."""
        first: dict[str, Feedback] = {}
        for step in self.steps:
            for f in step.feedback:
                if f.episode != self.name:
                    continue
                id = f.id.removesuffix(f"/{f.generation}")
                if id not in first or f.received_at < first[id].received_at:
                    first[id] = f
        return sorted(first.values(), key=lambda f: (f.received_at, f.id))


def find_episodes(examples: Sequence[Example]) -> list[Episode]:
    """Those of which something was said as a whole; of an answer in several the one that was spoken
    of last. Their order, and that of the steps, does not depend on that of ``examples``."""
    steps: dict[tuple[str, str], list[Example]] = {}
    for example in examples:
        if (name := episode_of(example)) is not None:
            steps.setdefault((example.generation.tenant, name), []).append(example)
    return [
        Episode(
            tenant,
            name,
            tuple(sorted(own, key=lambda e: (e.generation.created_at, e.generation.id))),
        )
        for (tenant, name), own in sorted(steps.items())
    ]


def episode_of(example: Example) -> str | None:
    said = [f for f in example.feedback if f.episode is not None]
    return max(said, key=lambda f: (f.received_at, f.id)).episode if said else None


def own_feedback(example: Example) -> tuple[Feedback, ...]:
    """What was said of the one answer."""
    return tuple(f for f in example.feedback if f.episode is None)
