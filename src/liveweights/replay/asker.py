"""A person who asks a chat for what can be checked, and reacts to the answers. Pure.

Not everybody says something of every answer: who does sends a thumb, writes what the answer
should have been, or goes on in the same conversation with praise or a complaint. What is said
depends on nothing but whether the answer is right, and on chance.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from liveweights.replay.tasks import Task, is_right

Thumb = Literal[-1, 1]

PRAISE = ("Thanks!", "Perfect.", "Great, that's right.", "Exactly, thank you.", "Good.")
COMPLAINTS = (
    "No, that's wrong. Try again:",
    "That is not what I asked for. Once more:",
    "Wrong. I said:",
    "That's not right. Again:",
    "You got it wrong. I asked:",
)


@dataclass(frozen=True, slots=True)
class Manners:
    """How likely each reaction is, from 0 to 1, independently of the others; an edit comes only
    after a wrong answer."""

    thumb: float = 0.6
    edit: float = 0.5
    follow_up: float = 0.4


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a person sends about one answer. ``edit`` is what the answer should have been,
    ``words`` are those that the next message of the conversation begins with."""

    thumb: Thumb | None = None
    edit: str | None = None
    words: str | None = None


def react(task: Task, answer: str, manners: Manners, draw: random.Random) -> Reaction:
    """The reaction to an answer. All chances are drawn for every answer, so that one habit does
    not reshuffle the others."""
    right = is_right(answer, task)
    thumb, edit, goes_on = draw.random(), draw.random(), draw.random()
    words = draw.choice(PRAISE if right else COMPLAINTS)
    return Reaction(
        thumb=(1 if right else -1) if thumb < manners.thumb else None,
        edit=task.answer if not right and edit < manners.edit else None,
        words=words if goes_on < manners.follow_up else None,
    )
