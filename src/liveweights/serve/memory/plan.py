"""Who goes and who comes, where not all models may be in memory at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One model's part of the memory, in bytes; times are in seconds on any one clock."""

    name: str
    held: int = 0
    """What it takes, and what it was granted and will take."""
    need: int = 0
    """What it asks for beside that; 0: nothing."""
    asked_at: float = 0.0
    """When it asked for ``need``."""
    used_at: float = 0.0
    """When its last request began or ended."""
    pinned: bool = False
    """It is never unloaded."""
    kept: bool = False
    """It is not unloaded now: it is being loaded, or tried by the gate."""
    busy: bool = False
    """Requests are in flight."""
    leaving: bool = False
    """It was told to unload already."""
    spare: bool = False
    """It takes ``need`` where there is room, and goes without where there is not."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Names of models: who is granted what it needs, who has to unload (once its requests have
    ended), and who cannot have what it needs."""

    grant: tuple[str, ...] = ()
    unload: tuple[str, ...] = ()
    refuse: tuple[str, ...] = ()


def make_plan(parts: Sequence[Part], budget: int, *, now: float, patience: float) -> Plan:
    """Who is granted, unloaded and refused, so that never more than ``budget`` bytes are held.

    Those that ask are served in the order in which they asked, and none overtakes: what asks for
    much is not kept waiting by those that ask for little. Room is made by unloading the least
    recently used ones, idle ones only; once the one that waits first has done so for ``patience``
    seconds, busy ones too, which then take no new requests and leave when theirs have ended. Who
    could not have what it needs even alone with the pinned ones is refused, and so is a spare need
    for which there is no room.
    """
    grant: list[str] = []
    unload: list[str] = []
    refuse: list[str] = []
    held = sum(part.held for part in parts)
    left = held - sum(part.held for part in parts if part.leaving)
    """What is held once those that are leaving have left."""
    blocked = False
    for part in _in_turn(parts):
        if part.need > budget - part.held - _pinned(parts, part):
            refuse.append(part.name)
        elif blocked:
            continue
        elif held + part.need <= budget:
            grant.append(part.name)
            held, left = held + part.need, left + part.need
        else:
            blocked = True
            late = now - part.asked_at >= patience
            stay = {part.name, *grant}
            going = [one for one in _movable(parts, stay) if late or not one.busy]
            victims = _choose(going, left + part.need - budget)
            unload += [one.name for one in victims]
            left -= sum(one.held for one in victims)
    if left > budget:
        # What is loaded has grown.
        going = [one for one in _movable(parts, {*unload}) if not one.busy]
        unload += [one.name for one in _choose(going, left - budget, partly=True)]
    for part in parts:
        if part.need and part.spare and not part.leaving:
            if not blocked and held + part.need <= budget:
                grant.append(part.name)
                held += part.need
            else:
                refuse.append(part.name)
    return Plan(tuple(grant), tuple(unload), tuple(refuse))


def _in_turn(parts: Iterable[Part]) -> list[Part]:
    asking = [part for part in parts if part.need and not part.spare and not part.leaving]
    return sorted(asking, key=lambda part: (part.asked_at, part.name))


def _pinned(parts: Iterable[Part], but: Part) -> int:
    return sum(part.held for part in parts if part.pinned and part is not but)


def _movable(parts: Iterable[Part], but: set[str]) -> list[Part]:
    """Those that may be unloaded, the idle before the busy, the least recently used first."""
    movable = [
        part
        for part in parts
        if part.held and part.name not in but and not (part.pinned or part.kept or part.leaving)
    ]
    return sorted(movable, key=lambda part: (part.busy, part.used_at, part.name))


def _choose(going: Sequence[Part], missing: int, *, partly: bool = False) -> list[Part]:
    """The first of ``going`` that hold as much as is missing; none where all do not, unless
    ``partly``."""
    chosen: list[Part] = []
    for part in going:
        if missing <= 0:
            break
        chosen.append(part)
        missing -= part.held
    return chosen if partly or missing <= 0 else []
