"""What is known of the models that the settings name: from the catalogue, the list of prices and
the settings themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from liveweights.catalog.card_files import CatalogueError
from liveweights.catalog.cards import Card
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.price_library import current_prices
from liveweights.catalog.prices import ListedPrice, PriceList
from liveweights.config import Config, ModelSettings
from liveweights.http.hosts import is_loopback
from liveweights.serve.api.profile import Capabilities, DataPolicy, LicenceTold, Pricing, Profile
from liveweights.serve.hosted.chains import list_chain
from liveweights.serve.hosted.settings import HostedSettings
from liveweights.terms.criteria import Candidate
from liveweights.terms.facts import Facts, facts_of, kind_of, unknown_facts
from liveweights.weights.content import HASHES, hash_files


class CatalogueRefused(RuntimeError):
    """A home's catalogue or list of prices is not understood, so that no rule can be applied."""


@dataclass(frozen=True, slots=True)
class Known:
    """One model: what is said of it, and what terms and routes look at."""

    profile: Profile
    candidate: Candidate

    @property
    def alias(self) -> str:
        return self.candidate.name


def read_known(config: Config, home: Path) -> dict[str, Known]:
    """Every model of the settings, by its public name. Raises CatalogueRefused, OSError."""
    try:
        return {one.alias: one for one in _read(config, Catalogue(home), home)}
    except (CatalogueError, ValueError) as error:
        raise CatalogueRefused(str(error)) from error


def _read(config: Config, known: Catalogue, home: Path) -> Iterator[Known]:
    teaches: dict[str, list[str]] = {}
    for model in config.list_models():
        for teacher in (model.alias, model.learn_from):
            if model.learns and teacher:
                teaches.setdefault(teacher, []).append(model.alias)
    for model in config.list_models():
        card = find_card(known, model, config.cache_folder())
        sent_to = _sent_to(model)
        data = DataPolicy(teaches=tuple(teaches.get(model.alias, ())), sent_to=sent_to)
        pricing = _own_price(config, model.alias)
        yield Known(
            _profile(known, card, pricing, data),
            Candidate(
                facts=_facts(known, card, model.alias),
                input=pricing and pricing.input,
                output=pricing and pricing.output,
                local=sent_to is None,
                learns=model.learns,
            ),
        )
    hosted = config.list_hosted()
    # The library takes half a second to import.
    prices = current_prices(home, datetime.now(UTC).date()) if hosted else None
    fallbacks = {model.alias: model.fallback for model in hosted}
    for model in hosted:
        listed = prices and prices.find_by_address(model.upstream, model.model)
        card = find_hosted(known, model, prices)
        data = DataPolicy(
            teaches=tuple(teaches.get(model.alias, ())),
            sent_to=urlsplit(model.upstream).hostname or model.upstream,
        )
        pricing = _own_price(config, model.alias) or _listed(listed)
        yield Known(
            _profile(known, card, pricing, data),
            Candidate(
                facts=_facts(known, card, model.alias),
                input=pricing and pricing.input,
                output=pricing and pricing.output,
                fallback=tuple(list_chain(model.alias, fallbacks)[1:]),
            ),
        )


def find_card(known: Catalogue, model: ModelSettings, cache: Path) -> Card | None:
    """Of the files of a folder, else of a base's name, which may be a folder's."""
    folder = Path(model.base).expanduser()
    weights: list[str] = []
    if (folder / "config.json").is_file():
        files = hash_files(folder.resolve(), cache / HASHES)
        weights = [digest for name, digest in files.items() if name.endswith(".safetensors")]
    return known.find_first((model.base, folder.name), weights)


def find_hosted(
    known: Catalogue, model: HostedSettings, prices: PriceList | None = None
) -> Card | None:
    """Of what its provider sells under that name, else of the name at the upstream."""
    listed = prices and prices.find_by_address(model.upstream, model.model)
    sold = listed and known.find_sold(listed.provider, listed.model)
    return sold or known.find_first((model.model, model.model.rpartition("/")[2]))


def _facts(known: Catalogue, card: Card | None, alias: str) -> Facts:
    return unknown_facts(alias) if card is None else facts_of(known, card, alias)


def _profile(
    known: Catalogue, card: Card | None, pricing: Pricing | None, data: DataPolicy
) -> Profile:
    if card is None:
        return Profile(pricing=pricing, data=data)
    licence, duties = known.licence(card), known.duties(card)
    told = licence and LicenceTold(
        id=licence.id, kind=kind_of(licence, duties), url=card.licence_url or licence.url
    )
    return Profile(
        base=card.hub_id,
        maker=card.maker,
        country=card.country,
        licence=told or None,
        duties=duties,
        pricing=pricing,
        data=data,
        capabilities=Capabilities(vision=_sees(card)),
        context=card.context,
    )


def _sees(card: Card) -> bool | None:
    return any(one.startswith("image") for one in card.modalities) if card.modalities else None


def _own_price(config: Config, alias: str) -> Pricing | None:
    price = config.prices.get(alias)
    return None if price is None else Pricing(input=price.input, output=price.output)


def _listed(price: ListedPrice | None) -> Pricing | None:
    return price and Pricing(
        input=price.input,
        output=price.output,
        cached_input=price.cached_input,
        currency="USD",
        version=price.version,
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
