"""The catalogue: what is known of open-weight models, ours and what a home adds to it.

Each part is read when it is first asked for: models, licences, and what surrounds the models.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from liveweights.catalog.card_files import (
    FOLDER,
    SHIPPED,
    CatalogueError,
    Entry,
    Lists,
    build,
    build_list,
    merge,
    read_file,
)
from liveweights.catalog.cards import Card
from liveweights.catalog.licences import DISPLAY, Duty, Licence
from liveweights.catalog.names import Names
from liveweights.catalog.prices import ListedPrice, PriceList
from liveweights.catalog.surroundings import Adoption, OriginRule, Product

T = TypeVar("T")
APART = {"licences": "licences", "products": "products", "rules": "origins", "adoption": "adoption"}
"""Lists that have a file of ours to themselves; every other file of ours is of models."""


@dataclass(frozen=True, slots=True)
class Applies:
    """A rule of origin that is about a model, and why: by maker, country or licence, of its own or
    of what it was derived from."""

    rule: OriginRule
    because: str


class Catalogue:
    """Cards of models with their licences, and what surrounds them.

    ``home`` is a service's folder; its own files, ``home/catalogue/*.toml``, are laid over ours in
    the order of their names. Reading a part raises CatalogueError where one of its entries is not
    understood, or names a licence that there is not.
    """

    def __init__(self, home: Path | None = None) -> None:
        self._folder = home / FOLDER if home else None

    @cached_property
    def cards(self) -> Mapping[str, Card]:
        """Every card, by its hub id."""
        licences, faults = self._licences
        faults = faults.copy()
        cards = build("models", self._models, Card, faults)
        for card in cards.values():
            if card.licence is not None and card.licence not in licences:
                near = get_close_matches(card.licence, licences, 1)
                hint = f"did you mean {near[0]!r}?" if near else "list it as [[licences]]"
                entry = self._models[card.hub_id.lower()]
                where = f"{entry.overrides.get('licence', entry.file)}: [[models]] {card.hub_id}"
                faults.append(f"{where}: there is no licence {card.licence!r}; {hint}")
        return _checked(cards, faults)

    @cached_property
    def licences(self) -> Mapping[str, Licence]:
        """Every licence, by its id."""
        return _checked(*self._licences)

    @cached_property
    def products(self) -> tuple[Product, ...]:
        faults: list[str] = []
        return _checked(build_list("products", self._lists("products"), Product, faults), faults)

    @cached_property
    def rules(self) -> tuple[OriginRule, ...]:
        """Rules of origin. Not legal advice."""
        faults: list[str] = []
        return _checked(build_list("rules", self._lists("rules"), OriginRule, faults), faults)

    @cached_property
    def adoption(self) -> tuple[Adoption, ...]:
        faults: list[str] = []
        return _checked(build_list("adoption", self._lists("adoption"), Adoption, faults), faults)

    def faults(self) -> list[str]:
        """What is wrong in any part."""
        found: list[str] = []
        for part in ("licences", "cards", "products", "rules", "adoption"):
            try:
                getattr(self, part)
            except CatalogueError as error:
                found += error.faults
        return list(dict.fromkeys(found))

    def find(self, name: str) -> Card:
        """The card of a model, by its hub id, the last part of that, or its name. Raises
        UnknownModel."""
        return self.cards[self._names.find(name)]

    def overrides(self, card: Card) -> Mapping[str, Path]:
        """The members of one of our cards that a home's file gives."""
        return self._models[card.hub_id.lower()].overrides

    def is_own(self, card: Card) -> bool:
        """Whether a home's file added it."""
        return self._models[card.hub_id.lower()].file.parent == self._folder

    def licence(self, card: Card) -> Licence | None:
        """None: not known."""
        return None if card.licence is None else self.licences[card.licence]

    def duties(self, card: Card) -> tuple[Duty, ...]:
        """What its licence asks for, and what is asked beyond that. Without a licence that is
        known, this says nothing: it is not free then."""
        licence = self.licence(card)
        name = card.display_name or card.name
        of_licence = licence.duties if licence else ()
        return tuple(
            msgspec.structs.replace(duty, text=duty.text.replace(DISPLAY, name))
            for duty in (*of_licence, *card.duties)
        )

    def lineage(self, card: Card) -> Iterator[Card]:
        """The cards of what it was derived from, the nearest first, as far as there are cards."""
        seen = {card.hub_id}
        while card.base is not None and card.base not in seen and card.base in self.cards:
            card = self.cards[card.base]
            seen.add(card.hub_id)
            yield card

    def prices(self, card: Card, listed: PriceList) -> tuple[ListedPrice, ...]:
        """What it costs where it is hosted: by the card itself, else by the list."""
        own = {(price.provider, price.model) for price in card.prices}
        others = (
            listed.find(one.provider, one.model)
            for one in card.hosted
            if (one.provider, one.model) not in own
        )
        return (*card.prices, *(price for price in others if price is not None))

    def products_on(self, card: Card) -> list[Product]:
        """Products that build on it, or on the checkpoint that it was derived from."""
        return [one for one in self.products if one.hub_id in (card.hub_id, card.base or "")]

    def rules_on(self, card: Card) -> list[Applies]:
        """Rules of origin that are about it or about what it was derived from; those about every
        model come last."""
        found: list[Applies] = []
        for rule in self.rules:
            for one in (card, *self.lineage(card)):
                if because := _because(rule, one):
                    of = "" if one is card else f" of {one.hub_id}, which it was derived from"
                    found.append(Applies(rule, f"{because}{of}"))
                    break
        return sorted(found, key=lambda one: one.rule.every_model)

    @cached_property
    def _models(self) -> dict[str, Entry]:
        faults: list[str] = []
        return _checked(merge("models", self._lists("models"), faults), faults)

    @cached_property
    def _licences(self) -> tuple[dict[str, Licence], list[str]]:
        faults: list[str] = []
        entries = merge("licences", self._lists("licences"), faults)
        return build("licences", entries, Licence, faults), faults

    @cached_property
    def _names(self) -> Names:
        return Names(self.cards.values())

    @cached_property
    def _own(self) -> dict[Path, dict[str, list[dict[str, Any]]]]:
        if self._folder is None or not self._folder.is_dir():
            return {}
        return {file: read_file(file) for file in sorted(self._folder.glob("*.toml"))}

    def _lists(self, kind: str) -> Lists:
        """The tables of a kind, of each file in order."""
        ours = [(file, _read_shipped(file).get(kind, [])) for file in _shipped(kind)]
        return ours + [(file, found.get(kind, [])) for file, found in self._own.items()]


def _because(rule: OriginRule, card: Card) -> str | None:
    if rule.every_model:
        return "it is about every model"
    if card.maker in rule.makers:
        return f"maker {card.maker}"
    if card.country in rule.countries:
        return f"country {card.country}"
    if card.licence in rule.licences:
        return f"licence {card.licence}"
    return None


def _shipped(kind: str) -> list[Path]:
    if kind in APART:
        return [SHIPPED / f"{APART[kind]}.toml"]
    return sorted(file for file in SHIPPED.glob("*.toml") if file.stem not in APART.values())


@cache
def _read_shipped(file: Path) -> dict[str, list[dict[str, Any]]]:
    return read_file(file)


def _checked(value: T, faults: list[str]) -> T:
    if faults:
        raise CatalogueError(faults)
    return value
