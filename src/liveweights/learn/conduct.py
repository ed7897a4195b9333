"""How a model goes about its tasks: whether its calls can be read, whether it goes round in
circles, and whether it gives up."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from liveweights.learn.credit import outcome_of
from liveweights.learn.refusals import is_refusal
from liveweights.learn.rewards import RewardMap
from liveweights.record.example import Episode

REPEATS = 3
"""Equal answers in one episode that make a loop."""
# What models write around a call in text: Hermes and Qwen, Mistral, Llama.
CALLS = (
    re.compile(r"<tool_call>(.*?)(?:</tool_call>|$)", re.DOTALL),
    re.compile(r"\[TOOL_CALLS\](.*?)(?:\n|$)", re.DOTALL),
    re.compile(r"<\|python_tag\|>(.*?)(?:<\||$)", re.DOTALL),
)


class Conduct(msgspec.Struct, frozen=True, kw_only=True):
    """Of episodes with an outcome: how many, their ``steps``, the mean ``outcome`` in [-1, 1]; the
    share of steps with a tool call of which one cannot be read, of episodes in which the same
    answer was given `REPEATS` times or more, and of those whose last answer is a refusal."""

    episodes: int
    steps: int
    outcome: float
    invalid_calls: float
    loops: float
    refusals: float


def measure_conduct(episodes: Sequence[Episode], rewards: RewardMap) -> Conduct | None:
    """None where no episode has an outcome. Steps without an outcome are not counted."""
    judged = [(e, worth.value) for e in episodes if (worth := outcome_of(e, rewards)) is not None]
    if not judged:
        return None
    answers = [[step.generation.output for step in episode.steps] for episode, _ in judged]
    calling = [answer for own in answers for answer in own if has_call(answer)]
    return Conduct(
        episodes=len(judged),
        steps=sum(map(len, answers)),
        outcome=sum(value for _, value in judged) / len(judged),
        invalid_calls=sum(map(has_invalid_call, calling)) / len(calling) if calling else 0.0,
        loops=sum(map(_is_loop, answers)) / len(judged),
        refusals=sum(is_refusal(own[-1]) for own in answers) / len(judged),
    )


class Call(NamedTuple):
    """A tool call in an answer, as it is written there. ``name`` of None: it is no JSON object with
    a name, nor a list of these, whose first is named."""

    name: str | None
    text: str


def find_calls(answer: str) -> list[Call]:
    """In the order of the text."""
    found = sorted(
        (call for pattern in CALLS for call in pattern.finditer(answer)),
        key=lambda call: call.start(),
    )
    return [Call(_name_of(call[1]), call[1].strip()) for call in found]


def has_call(answer: str) -> bool:
    return any(pattern.search(answer) for pattern in CALLS)


def has_invalid_call(answer: str) -> bool:
    """Whether any tool call in the text cannot be read."""
    return any(call.name is None for call in find_calls(answer))


def _name_of(text: str) -> str | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    calls: list[Any] = value if isinstance(value, list) else [value]
    if not calls or not all(isinstance(call, dict) and "name" in call for call in calls):
        return None
    return str(calls[0]["name"])


def _is_loop(answers: Sequence[str]) -> bool:
    counts = Counter(answer.strip() for answer in answers if answer.strip())
    return max(counts.values(), default=0) >= REPEATS
