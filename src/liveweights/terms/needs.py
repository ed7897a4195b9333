"""What a request needs of the model that answers it, by what it contains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Ability = Literal["chat", "completion", "infill", "tools", "json", "vision"]

USUAL: frozenset[Ability] = frozenset(("chat", "completion"))
"""What a model is taken to be able to unless it is known that it is not; all else it has to be
known to be able to."""
_SAID: Mapping[Ability, tuple[str, str]] = {
    "chat": ("it has chats", "it has no chats"),
    "completion": ("it continues texts", "it continues no texts"),
    "infill": ("it fills in between two texts", "it fills in nothing between two texts"),
    "tools": ("it calls tools", "it calls no tools"),
    "json": ("its answers follow a schema", "its answers follow no schema"),
    "vision": ("it sees images", "it sees no images"),
}
"""What is said of a model with an ability, and of one without."""


@dataclass(frozen=True, slots=True)
class Needs:
    """``context`` is in tokens, of prompt and answer together: an estimate."""

    abilities: frozenset[Ability] = frozenset()
    context: int = 0


NOTHING = Needs()


def lacks(known: Mapping[Ability, bool], ability: Ability) -> str | None:
    """Why a model of which that is ``known`` cannot answer what needs the ability; None: it
    can."""
    can = known.get(ability)
    if can or (can is None and ability in USUAL):
        return None
    with_it, without_it = _SAID[ability]
    return f"it is not known whether {with_it}" if can is None else without_it
