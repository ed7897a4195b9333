"""Whose influence a vote is counted as: an API key's, then a known user's or that of all others.

A request names its user itself, so a name costs nothing. Whoever has voted before stands for
himself; new users and those without a name are, per key, one.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from liveweights.learn.guards import FEWEST
from liveweights.record.generation import Generation


@dataclass(frozen=True, slots=True)
class Voter:
    """``user`` is who holds the influence, ``group`` whose votes are tested together; both are the
    newcomers of the key where the user is not ``known``."""

    tenant: str
    key: str
    user: str
    group: str
    known: bool = True


NOBODY = Voter("", "", "", "")

# No user's name can hold the character.
_NEW, _FEW = "\0new", "\0few"


ALONE: Mapping[str, str] = MappingProxyType({})


def describe(group: str) -> str:
    """In words, for a report that outlives what a user had removed: a user is a hash, as in the
    table ``forgotten``."""
    for ending, words in ((_NEW, "new users"), (_FEW, "users with few votes")):
        if group.endswith(ending):
            return f"{words} of {group.removesuffix(ending).rstrip('/')}"
    return hashlib.sha256(group.replace("/", "\0", 1).encode()).hexdigest()[:12]


def name_of(generation: Generation) -> str | None:
    """The user as the request named it, told from those of other tenants; None without a name."""
    return user_of(generation.tenant, generation.user) if generation.user else None


def user_of(tenant: str, user: str) -> str:
    return f"{tenant}/{user}"


def find_voters(
    generations: Sequence[Generation],
    earlier: Mapping[str, int],
    known_votes: int,
    tasks: Mapping[str, str] = ALONE,
) -> dict[str, Voter]:
    """The voter of each generation, by its id.

    ``earlier`` says how many votes of earlier cycles each named user has; with ``known_votes`` of
    them one is known. Where nobody is, as in the first cycles, those are who have as many now.
    ``tasks`` names, by generation, the episode that it was voted on with: these are one vote.
    A known user with fewer votes than a test needs is tested with the others of the key.
    """
    cast = {(name_of(g), tasks.get(g.id, g.id)) for g in generations}
    now = Counter(name for name, _ in cast if name is not None)
    before = {name for name in now if earlier.get(name, 0) >= known_votes}
    known = before or {name for name, count in now.items() if count >= known_votes}
    voters: dict[str, Voter] = {}
    for generation in generations:
        key = f"{generation.tenant}/{generation.key}"
        name = name_of(generation)
        if name is None or name not in known:
            voter = Voter(generation.tenant, key, key + _NEW, key + _NEW, known=False)
        else:
            group = name if now[name] >= FEWEST else key + _FEW
            voter = Voter(generation.tenant, key, name, group)
        voters[generation.id] = voter
    return voters
