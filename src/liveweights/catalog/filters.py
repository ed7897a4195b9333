"""Choosing cards by maker, country, licence, family and context."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from liveweights.catalog.cards import Card

UNKNOWN = "unknown"
"""What a card says of a member that is not known; it can be asked for."""


class NoSuchValue(LookupError):
    """No card has that maker, country, licence or family; the message names those that are near."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What cards must have; None: anything. A text that is some card's whole value stands for just
    that value, else for every value that it is a part of; only letters and digits count."""

    maker: str | None = None
    country: str | None = None
    licence: str | None = None
    family: str | None = None
    min_context: int | None = None


_MEMBERS: dict[str, Callable[[Card], str | None]] = {
    "maker": lambda card: card.maker,
    "country": lambda card: card.country,
    "licence": lambda card: card.licence,
    "family": lambda card: card.family,
}


def choose(cards: Iterable[Card], filters: Filters) -> list[Card]:
    """The cards that have all of it, in their order. A context that is not known is not enough.
    Raises NoSuchValue."""
    chosen = everything = list(cards)
    for member, read in _MEMBERS.items():
        text: str | None = getattr(filters, member)
        if text is not None:
            values = _matching(text, {read(card) or UNKNOWN for card in everything}, member)
            chosen = [card for card in chosen if (read(card) or UNKNOWN) in values]
    if filters.min_context is not None:
        chosen = [card for card in chosen if (card.context or 0) >= filters.min_context]
    return chosen


def _matching(text: str, values: set[str], member: str) -> set[str]:
    wanted = _letters(text)
    equal = {value for value in values if _letters(value) == wanted}
    if wanted and (found := equal or {value for value in values if wanted in _letters(value)}):
        return found
    near = get_close_matches(text, sorted(values), 3) or sorted(values)
    raise NoSuchValue(f"no card has the {member} {text!r}; there are {', '.join(near)}")


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()
