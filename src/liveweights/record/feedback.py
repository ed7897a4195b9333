"""One reaction to one answer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

MOST_STEPS = 1000
"""Steps that an episode may have, for what is said of all of them."""
Signal = Literal[
    "accepted", "rejected", "shown", "edited", "thumbs", "reward", "comment", "correction"
]


Mood = Literal["dissatisfied", "satisfied", "neutral"]
"""How what a user said of an answer sounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """A user's reaction; ``id`` makes sending it twice harmless.

    ``value`` is the number of ``thumbs`` (-1 or 1) and ``reward`` (-1 to 1); ``text`` is the
    surviving text of ``edited``, the text of ``comment``, and for ``correction`` what the user
    wrote instead. ``episode`` names the episode or session whose outcome it is, where it was
    said of all its answers; None: of this one.
    """

    id: str
    generation: str
    signal: Signal
    value: float | None = None
    text: str | None = None
    tenant: str = "default"
    received_at: datetime
    episode: str | None = None
