"""The answers of one task with what was said of each: ``GET /v1/episodes/{id}``."""

from __future__ import annotations

from liveweights.http.errors import bad_request
from liveweights.insight.own import Lookup, Viewer
from liveweights.record.episodes import read_episode
from liveweights.record.errors import TooManySteps
from liveweights.record.example import Example
from liveweights.record.feedback import Feedback
from liveweights.serve.api.objects import EpisodeObject, EpisodeStep, Reaction
from liveweights.store.database import Connection


async def show_episode(conn: Connection, name: str, viewer: Viewer) -> EpisodeObject | None:
    """The tenant's own; None where it has no such one. Raises ApiError 400 for too many steps."""
    try:
        episode = await read_episode(conn, viewer.tenant, name)
    except TooManySteps as error:
        raise bad_request(f"{error}.", "id", "invalid_value") from None
    if episode is None:
        return None
    steps = [_step(one) for one in episode.steps]
    return EpisodeObject(
        name,
        steps,
        sum(step.prompt_tokens for step in steps),
        sum(step.output_tokens for step in steps),
    )


def _step(example: Example) -> EpisodeStep:
    g = example.generation
    return EpisodeStep(
        generation=g.id,
        created_at=g.created_at,
        model=g.alias,
        checkpoint=g.checkpoint,
        output=g.output,
        reasoning=g.reasoning,
        finish_reason=g.finish_reason,
        prompt_tokens=g.usage["prompt_tokens"],
        output_tokens=g.usage["completion_tokens"],
        total_ms=g.total_ms,
        feedback=[_reaction(example, f) for f in example.feedback],
    )


def _reaction(example: Example, f: Feedback) -> Reaction:
    delay = (f.received_at - example.generation.completed_at).total_seconds()
    return Reaction(f.id, f.signal, f.value, f.text, f.received_at, delay)


EPISODE = Lookup("/v1/episodes", "episode", show_episode)
