"""What is known of the models that the settings name: from the catalogue, the list of prices and
the settings themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import msgspec

from liveweights.app.cards import find_card, find_listed
from liveweights.catalog.card_files import CatalogueError
from liveweights.catalog.cards import Card
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.library import Library, open_library
from liveweights.catalog.prices import ListedPrice
from liveweights.config import Config
from liveweights.http.hosts import is_loopback
from liveweights.model_table import ModelSettings
from liveweights.serve.api.pricing import DOLLARS, in_dollars
from liveweights.serve.api.profile import Capabilities, DataPolicy, LicenceTold, Pricing, Profile
from liveweights.serve.hosted.chains import list_chain
from liveweights.serve.hosted.settings import HostedSettings
from liveweights.terms.criteria import Candidate
from liveweights.terms.facts import Facts, facts_of, kind_of, unknown_facts
from liveweights.terms.needs import Ability


class CatalogueRefused(RuntimeError):
    """A home's catalogue or list of prices is not understood, so that no rule can be applied."""


@dataclass(frozen=True, slots=True)
class Known:
    """One model: what is said of it, what terms and routes look at, and what its upstream asks, by
    a card or the list."""

    profile: Profile
    candidate: Candidate
    listed: ListedPrice | None = None

    @property
    def alias(self) -> str:
        return self.candidate.name


def read_known(config: Config, home: Path) -> dict[str, Known]:
    """Every model of the settings, by its public name. Raises CatalogueRefused, OSError."""
    library = open_library(home, datetime.now(UTC).date())
    try:
        return {one.alias: one for one in _read(config, library)}
    except (CatalogueError, ValueError) as error:
        raise CatalogueRefused(str(error)) from error


def _read(config: Config, library: Library) -> Iterator[Known]:
    known = library.catalogue
    teaches: dict[str, list[str]] = {}
    for model in config.list_models():
        for teacher in (model.alias, model.learn_from):
            if model.learns and teacher:
                teaches.setdefault(teacher, []).append(model.alias)
    hosted = config.list_hosted()
    fallbacks = {one.alias: one.fallback for one in (*config.list_models(), *hosted)}
    for model in config.list_models():
        card = _card(library, model, config.cache_folder())
        sent_to = _sent_to(model)
        data = DataPolicy(teaches=tuple(teaches.get(model.alias, ())), sent_to=sent_to)
        profile = msgspec.structs.replace(
            _profile(known, card),
            pricing=_own_price(config, model.alias),
            data=data,
            visible=model.visible,
        )
        input, output = in_dollars(profile.pricing)
        yield Known(
            profile,
            Candidate(
                facts=_facts(known, card, model.alias),
                input=input,
                output=output,
                local=sent_to is None,
                learns=model.learns,
                fallback=tuple(list_chain(model.alias, fallbacks)[1:]),
                visible=model.visible,
                can=profile.capabilities.abilities(),
            ),
        )
    for model in hosted:
        listed = find_listed(library, model)
        card = _card(library, model, config.cache_folder())
        data = DataPolicy(
            teaches=tuple(teaches.get(model.alias, ())),
            sent_to=urlsplit(model.upstream).hostname or model.upstream,
        )
        profile = _profile(known, card)
        profile = msgspec.structs.replace(
            profile,
            pricing=_own_price(config, model.alias) or _listed(listed),
            data=data,
            capabilities=_stated(model.capabilities) or profile.capabilities,
            context=model.context or profile.context,
            visible=model.visible,
        )
        facts = replace(_facts(known, card, model.alias), context=profile.context)
        input, output = in_dollars(profile.pricing)
        yield Known(
            profile,
            Candidate(
                facts=facts,
                input=input,
                output=output,
                fallback=tuple(list_chain(model.alias, fallbacks)[1:]),
                visible=model.visible,
                can=profile.capabilities.abilities(),
            ),
            listed,
        )


def _card(library: Library, model: ModelSettings | HostedSettings, cache: Path) -> Card | None:
    located = find_card(library, model, cache)
    return located and located.card


def _stated(capabilities: tuple[str, ...] | None) -> Capabilities | None:
    if capabilities is None:
        return None
    return Capabilities(**{name: name in capabilities for name in get_args(Ability)})


def _facts(known: Catalogue, card: Card | None, alias: str) -> Facts:
    return unknown_facts(alias) if card is None else facts_of(known, card, alias)


def _profile(known: Catalogue, card: Card | None) -> Profile:
    """What its card says of it."""
    if card is None:
        return Profile()
    licence = known.licence(card)
    told = licence and LicenceTold(
        id=licence.id,
        kind=kind_of(licence, known.duties(card)),
        url=card.licence_url or licence.url,
    )
    return Profile(
        base=card.hub_id,
        maker=card.maker,
        country=card.country,
        licence=told or None,
        duties=known.all_duties(card),
        capabilities=Capabilities(vision=_sees(card)),
        context=card.context,
    )


def _sees(card: Card) -> bool | None:
    return any(one.startswith("image") for one in card.modalities) if card.modalities else None


def _own_price(config: Config, alias: str) -> Pricing | None:
    price = (config.prices or {}).get(alias)
    if price is None:
        return None
    return Pricing(
        input=price.input, output=price.output, currency=price.currency, source="settings"
    )


def _listed(price: ListedPrice | None) -> Pricing | None:
    return price and Pricing(
        input=price.input,
        output=price.output,
        cached_input=price.cached_input,
        currency=DOLLARS,
        version=price.version,
        since=price.since and price.since.isoformat(),
        source=price.source,
    )


def _sent_to(model: ModelSettings) -> str | None:
    """The host of a server elsewhere that computes a local model's answers; None: this machine
    does."""
    servers = {"openai": [model.openai.server], "vllm": model.vllm.servers}
    for url in servers.get(model.engine.kind, ()):
        host = urlsplit(url if "://" in url else f"//{url}").hostname or url
        if not is_loopback(host):
            return host
    return None
