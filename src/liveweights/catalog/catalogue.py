"""The catalogue: what is known of open-weight models, ours and what a home adds to it.

Each part is read when it is first asked for: models, licences, and what surrounds the models.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, cached_property
from pathlib import Path
from typing import TypeVar

import msgspec

from liveweights.catalog.ancestry import Ancestor, of_card, without_card
from liveweights.catalog.card_files import (
    FOLDER,
    SHIPPED,
    CatalogueError,
    Entry,
    Lists,
    Tables,
    build,
    build_list,
    list_own,
    merge,
    read_file,
)
from liveweights.catalog.cards import Card
from liveweights.catalog.licences import DISPLAY, Duty, Licence
from liveweights.catalog.names import Names
from liveweights.catalog.prices import ListedPrice, PriceList
from liveweights.catalog.surroundings import Adoption, OriginRule, Product

T = TypeVar("T", bound=msgspec.Struct)
V = TypeVar("V")
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
        licences, of_licences = self._licences
        faults = [*of_licences, *self._models[1]]
        cards = build("models", self._entries, Card, faults)
        for card in cards.values():
            if card.licence is not None and card.licence not in licences:
                near = get_close_matches(card.licence, licences, 1)
                hint = f"did you mean {near[0]!r}?" if near else "list it as [[licences]]"
                entry = self._entries[card.hub_id.lower()]
                where = f"{entry.overrides.get('licence', entry.file)}: [[models]] {card.hub_id}"
                faults.append(f"{where}: there is no licence {card.licence!r}; {hint}")
        return _checked(cards, faults)

    @cached_property
    def licences(self) -> Mapping[str, Licence]:
        """Every licence, by its id."""
        return _checked(*self._licences)

    @cached_property
    def products(self) -> tuple[Product, ...]:
        return self._list("products", Product)

    @cached_property
    def rules(self) -> tuple[OriginRule, ...]:
        """Rules of origin. Not legal advice."""
        return self._list("rules", OriginRule)

    @cached_property
    def adoption(self) -> tuple[Adoption, ...]:
        return self._list("adoption", Adoption)

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

    def find_base(self, card: Card) -> Card | None:
        """The card of what it says that it was derived from, whatever the case of that hub id."""
        return None if card.base is None else self._by_id.get(card.base.lower())

    def find_sold(self, provider: str, model: str) -> Card | None:
        """The card of what a provider sells under that name, or that says what it costs there."""
        sold = (provider.lower(), model.lower())
        for card in self.cards.values():
            if sold in _sold(card):
                return card
        return None

    def overrides(self, card: Card) -> Mapping[str, Path]:
        """The members of one of our cards that a home's file gives."""
        return self._entries[card.hub_id.lower()].overrides

    def is_own(self, card: Card) -> bool:
        """Whether a home's file added it."""
        return self._entries[card.hub_id.lower()].file.parent == self._folder

    def licence(self, card: Card) -> Licence | None:
        """None: not known."""
        return None if card.licence is None else self.licences[card.licence]

    def duties(self, card: Card) -> tuple[Duty, ...]:
        """What its licence asks for, and what is asked beyond that. Without a licence that is
        known, this says nothing: it is not free then."""
        return self._duties(card, self._display_name(card))

    def chain_of_duties(self, card: Card) -> Iterator[tuple[Card, tuple[Duty, ...]]]:
        """Its duties, then those of each card that it was derived from, the nearest first. One name
        is to be shown under one licence: that of the nearest."""
        names: dict[str | None, str] = {}
        for one in (card, *self.lineage(card)):
            name = names.setdefault(one.licence, self._display_name(one))
            yield one, self._duties(one, name)

    def all_duties(self, card: Card) -> tuple[Duty, ...]:
        """Its duties, and those that only what it was derived from has, whose text says so."""
        found: dict[Duty, Duty] = {}
        for one, duties in self.chain_of_duties(card):
            whose = (
                f"of {one.hub_id}, which it was derived from, licence {one.licence or 'unknown'}"
            )
            for duty in duties:
                text = duty.text if one is card else f"{duty.text} ({whose})"
                found.setdefault(duty, msgspec.structs.replace(duty, text=text))
        return tuple(found.values())

    def lineage(self, card: Card) -> Iterator[Card]:
        """The cards of what it was derived from, the nearest first, as far as there are cards."""
        seen = {card.hub_id}
        while (base := self.find_base(card)) is not None and base.hub_id not in seen:
            seen.add(base.hub_id)
            yield base
            card = base

    def ancestry(self, card: Card) -> Iterator[Ancestor]:
        """What it was derived from, the nearest first: all that has a card, then the one that the
        last of these names and that has none."""
        for base in self.lineage(card):
            yield of_card(base)
            card = base
        if card.base is not None and self.find_base(card) is None:
            yield without_card(card, self.cards.values())

    def prices(self, card: Card, listed: PriceList) -> tuple[ListedPrice, ...]:
        """What it costs where it is hosted, or where the card itself says what it costs, by a list
        that is overruled by what cards say."""
        found = (listed.find(provider, model) for provider, model in _sold(card))
        return tuple(price for price in found if price is not None)

    def products_on(self, card: Card) -> list[Product]:
        """Products that build on it, or on the checkpoint that it was derived from."""
        ids = (card.hub_id.lower(), (card.base or "").lower())
        return [one for one in self.products if one.hub_id and one.hub_id.lower() in ids]

    def rules_on(self, card: Card) -> list[Applies]:
        """Rules of origin that are about it or about what it was derived from; those about every
        model come last."""
        found: list[Applies] = []
        origins = (of_card(card), *self.ancestry(card))
        for rule in self.rules:
            for one in origins:
                if because := _because(rule, one):
                    of = "" if one.card is card else f" of {one.hub_id}, which it was derived from"
                    found.append(Applies(rule, f"{because}{of}"))
                    break
        return sorted(found, key=lambda one: one.rule.every_model)

    def _display_name(self, card: Card) -> str:
        """What a display duty of its licence means: derived under the same licence, that of the
        nearest base that has one."""
        kin = [card, *(base for base in self.lineage(card) if base.licence == card.licence)]
        return next((one.display_name for one in kin if one.display_name), kin[-1].name)

    def _duties(self, card: Card, name: str) -> tuple[Duty, ...]:
        licence = self.licence(card)
        return tuple(
            msgspec.structs.replace(duty, text=duty.text.replace(DISPLAY, name))
            for duty in (*(licence.duties if licence else ()), *card.duties)
        )

    @cached_property
    def _models(self) -> tuple[dict[str, Entry], list[str]]:
        lists, faults = self._lists("models")
        return merge("models", lists, faults), faults

    @property
    def _entries(self) -> dict[str, Entry]:
        return self._models[0]

    @cached_property
    def _licences(self) -> tuple[dict[str, Licence], list[str]]:
        lists, faults = self._lists("licences")
        return build("licences", merge("licences", lists, faults), Licence, faults), faults

    @cached_property
    def _by_id(self) -> dict[str, Card]:
        return {hub_id.lower(): card for hub_id, card in self.cards.items()}

    @cached_property
    def _names(self) -> Names:
        return Names(self.cards.values())

    @cached_property
    def _own(self) -> tuple[dict[Path, Tables], list[str]]:
        """A home's files, and what is wrong with those that cannot be read."""
        found: dict[Path, Tables] = {}
        faults: list[str] = []
        for file in list_own(self._folder) if self._folder else ():
            try:
                found[file] = read_file(file)
            except CatalogueError as error:
                if os.path.lexists(file):  # else it went away meanwhile
                    faults += error.faults
        return found, faults

    def _lists(self, kind: str) -> tuple[Lists, list[str]]:
        """The tables of a kind, of each file in order, and the faults of files."""
        own, faults = self._own
        ours = [(file, _read_shipped(file).get(kind, [])) for file in _shipped(kind)]
        return [*ours, *((file, found.get(kind, [])) for file, found in own.items())], [*faults]

    def _list(self, kind: str, type_: type[T]) -> tuple[T, ...]:
        lists, faults = self._lists(kind)
        return _checked(build_list(kind, lists, type_, faults), faults)


def _sold(card: Card) -> dict[tuple[str, str], None]:
    """Providers and models that are the card's, lower case, each once and in order."""
    return dict.fromkeys(
        (one.provider.lower(), one.model.lower()) for one in (*card.prices, *card.hosted)
    )


def _because(rule: OriginRule, one: Ancestor) -> str | None:
    if rule.every_model:
        return "it is about every model"
    if one.maker in rule.makers:
        return f"maker {one.maker}"
    if one.country in rule.countries:
        return f"country {one.country}"
    if one.licence in rule.licences:
        return f"licence {one.licence}"
    return None


def _shipped(kind: str) -> list[Path]:
    if kind in APART:
        return [SHIPPED / f"{APART[kind]}.toml"]
    return sorted(file for file in SHIPPED.glob("*.toml") if file.stem not in APART.values())


@cache
def _read_shipped(file: Path) -> Tables:
    return read_file(file)


def _checked(value: V, faults: list[str]) -> V:
    if faults:
        raise CatalogueError(list(dict.fromkeys(faults)))
    return value
