"""Finding a card by what people call the model."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from difflib import get_close_matches

from liveweights.catalog.cards import Card

SUGGESTED = 3


class UnknownModel(LookupError):
    """No card has that name, or several have; the message names those that are near."""


class Names:
    """Hub ids, their last parts and the names of cards.

    A hub id counts before the rest. Case, spaces, hyphens and underscores do not count, nor
    ``hf://`` before and ``@REVISION`` behind.
    """

    def __init__(self, cards: Iterable[Card]) -> None:
        self._ids = dict[str, str]()
        self._others: dict[str, list[str]] = defaultdict(list)
        for card in cards:
            self._ids[plain(card.hub_id)] = card.hub_id
            for name in {plain(card.hub_id.partition("/")[2]), plain(card.name)}:
                self._others[name].append(card.hub_id)

    def find(self, name: str) -> str:
        """The hub id. Raises UnknownModel."""
        wanted = plain(name.removeprefix("hf://").partition("@")[0])
        found = [self._ids[wanted]] if wanted in self._ids else self._others.get(wanted, [])
        if len(found) == 1:
            return found[0]
        if found:
            raise UnknownModel(f"{name!r} is the name of several models: {', '.join(found)}")
        near = self.near(wanted)
        hint = f"; the nearest: {', '.join(near)}" if near else ""
        raise UnknownModel(f"there is no card of {name!r}{hint}")

    def near(self, name: str) -> list[str]:
        """Hub ids of names that are like that one, the likest first."""
        wanted = plain(name)
        among = self._ids.keys() | self._others.keys()
        likest = get_close_matches(wanted, sorted(among), SUGGESTED, cutoff=0.6)
        found = [
            id
            for one in likest
            for id in ([self._ids[one]] if one in self._ids else self._others[one])
        ]
        return list(dict.fromkeys(found))[:SUGGESTED]


def plain(name: str) -> str:
    """A name without what people write in different ways."""
    return re.sub(r"[\s_-]+", "", name).casefold()
