"""``liveweights catalogue``: what is known of open-weight models."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from liveweights import bounds
from liveweights.catalog.card_files import FOLDER, CatalogueError
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.filters import UNKNOWN, Filters, NoSuchValue, choose
from liveweights.catalog.names import UnknownModel
from liveweights.catalog.prices import FILE, PriceList, encode_prices
from liveweights.cli.card_page import (
    align,
    card_page,
    facts,
    parameters,
    recognition_lines,
    tokens,
    use_lines,
)
from liveweights.cli.context import HOME, Home, Json, Settings, read_config, refuse
from liveweights.cli.output import say, show_json
from liveweights.weights.staging import write_whole

catalogue = typer.Typer(
    no_args_is_help=True,
    help="What is known of open-weight models: maker, licence with its duties, sizes, prices, "
    "scores with their sources. Files of your own, HOME/catalogue/*.toml, add and override.",
)

_NOT_COMPARED = "--against compares safetensors: a GGUF file has other names and packed values"

Filter = Annotated[str | None, typer.Option(help="All of it or a part, or `unknown`.")]


@catalogue.command("list")
def list_models(
    maker: Filter = None,
    country: Annotated[
        str | None, typer.Option(help="ISO code of the maker's seat, or `unknown`.")
    ] = None,
    licence: Filter = None,
    family: Filter = None,
    min_context: Annotated[
        int | None, typer.Option(min=1, max=bounds.COUNT, help="Tokens.")
    ] = None,
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """List the cards that fit."""
    known = Catalogue(home)
    filters = Filters(
        maker=maker, country=country, licence=licence, family=family, min_context=min_context
    )
    try:
        chosen = choose(known.cards.values(), filters)
    except (CatalogueError, NoSuchValue) as error:
        raise refuse(str(error)) from error
    if as_json:
        show_json([facts(known, card) for card in chosen])
        return
    own = {card.hub_id for card in chosen if known.is_own(card) or known.overrides(card)}
    table = [
        (
            card.hub_id + ("*" if card.hub_id in own else ""),
            f"{card.maker or UNKNOWN}, {card.country or UNKNOWN}",
            parameters(card),
            tokens(card.context),
            card.licence or UNKNOWN,
            str(card.released or UNKNOWN),
        )
        for card in chosen
    ]
    head = ("model", "maker", "parameters", "context", "licence", "released")
    for line in align([head, *table]):
        say(line)
    yours = f"; * yours: {len(own)}" if own else ""
    say(f"{len(chosen)} of {len(known.cards)} cards{yours}", err=True)


@catalogue.command("show")
def show_model(
    name: Annotated[str, typer.Argument(help="Hub id, its last part, or the model's name.")],
    home: Home = HOME,
    as_json: Json = False,
) -> None:
    """Show everything of one model: duties, prices, scores, products, rules, sources."""
    known = Catalogue(home)
    try:
        card = known.find(name)
        sold = card.hosted or card.prices
        prices = known.prices(card, _prices(home)) if sold else ()
        if as_json:
            show_json(
                facts(known, card)
                | {
                    "prices": prices,
                    "products": known.products_on(card),
                    "rules": [
                        msgspec.to_builtins(one.rule) | {"because": one.because}
                        for one in known.rules_on(card)
                    ],
                }
            )
            return
        for line in card_page(known, card, prices):
            say(line)
    except (CatalogueError, UnknownModel) as error:
        raise refuse(str(error)) from error


@catalogue.command("recognise")
def recognise_model(
    checkpoint: Annotated[
        Path, typer.Argument(help="A checkpoint folder, or a GGUF file (of a split one the first).")
    ],
    against: Annotated[
        list[str] | None,
        typer.Option(help="A base whose weights it is compared with: as --model of `up`. Repeat."),
    ] = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Say which model a checkpoint is, by its files: by their hashes, else by shape and vocabulary.

    Exit code 0: it is one of the cards or of HOME's checkpoints, or alike a card or a base that was
    given; 3: unknown.
    """
    from liveweights.catalog.recognition import read_evidence, recognise
    from liveweights.catalog.similarity import compare_weights
    from liveweights.catalog.stored import find_stored
    from liveweights.weights.content import source_files
    from liveweights.weights.models import ModelNotFound, find

    cache = read_config(config, home).cache_folder()
    if checkpoint.is_file() and against:
        raise refuse(_NOT_COMPARED)
    if not checkpoint.is_dir() and not (checkpoint.is_file() and checkpoint.suffix == ".gguf"):
        raise refuse(f"there is neither a checkpoint folder nor a GGUF file {checkpoint}")
    try:
        evidence = read_evidence(checkpoint, cache)
        found = recognise(evidence, Catalogue(home).cards.values())
        stored = find_stored(evidence.weights, home)
        bases = [(name, find(name, cache)) for name in against or ()]
        if packed := [name for name, base in bases if source_files(base.folder)]:
            raise refuse(f"{_NOT_COMPARED}: {packed[0]} is one")
        likenesses = {name: compare_weights(checkpoint, base.folder) for name, base in bases}
    except (OSError, ValueError, ModelNotFound) as error:
        raise refuse(str(error)) from error
    if as_json:
        show_json(
            {
                "by": found.by,
                "models": [card.hub_id for card in found.cards],
                "family": found.family,
                "parameters": found.parameters,
                "reason": found.reason,
                "says": found.says,
                "checkpoints": stored,
                "against": {
                    name: {"alike": one.is_alike, "correlation": one.median}
                    for name, one in likenesses.items()
                },
            }
        )
    else:
        for one in stored:
            learnt = f", learnt from {one.parent}" if one.parent else ""
            say(f"its weights are those of {one.id} of {home}, on {one.base or 'no base'}{learnt}")
        for line in recognition_lines(found, likenesses):
            say(line)
    shown = (
        bool(stored) or found.by != "unknown" or any(one.is_alike for one in likenesses.values())
    )
    raise typer.Exit(0 if shown else 3)


@catalogue.command()
def check(home: Home = HOME) -> None:
    """Read every card, ours and yours, and name all that is wrong. Exit code 1: something is."""
    known = Catalogue(home)
    if faults := known.faults():
        for fault in faults:
            say(fault, fg="red", err=True)
        raise typer.Exit(1)
    cards = known.cards.values()
    own = [card for card in cards if known.is_own(card)]
    over = [card for card in cards if known.overrides(card)]
    say(
        f"in order: {len(cards)} cards, {len(known.licences)} licences, {len(known.products)} "
        f"products, {len(known.rules)} rules, {len(known.adoption)} figures of use"
    )
    prices = _prices(home)
    for card in cards:
        for one in card.hosted:
            if prices.find(one.provider, one.model) is None:
                say(f"{card.hub_id}: {prices.version} has no price of {one.provider} {one.model}")
    for card in own:
        say(f"{card.hub_id} is yours")
    for card in over:
        say(f"{card.hub_id}: yours are {', '.join(known.overrides(card))}")


@catalogue.command()
def licences(home: Home = HOME, as_json: Json = False) -> None:
    """List the licences, and what each asks for."""
    try:
        found = Catalogue(home).licences.values()
    except CatalogueError as error:
        raise refuse(str(error)) from error
    if as_json:
        show_json(list(found))
        return
    table = [
        (
            one.id,
            {True: "OSI", False: "", None: UNKNOWN}[one.osi_approved],
            ", ".join(dict.fromkeys(duty.kind for duty in one.duties)),
            one.verified,
        )
        for one in found
    ]
    for line in align([("licence", "approved", "duties", "compared with its text"), *table]):
        say(line)


@catalogue.command()
def adoption(home: Home = HOME, as_json: Json = False) -> None:
    """List published figures of how much open models are used."""
    try:
        found = Catalogue(home).adoption
    except CatalogueError as error:
        raise refuse(str(error)) from error
    if as_json:
        show_json(found)
        return
    for line in use_lines(found):
        say(line)


@catalogue.command()
def refresh(
    home: Home = HOME,
    url: Annotated[
        str | None, typer.Option(help="Of a list in the form of genai-prices; default: theirs.")
    ] = None,
) -> None:
    """Fetch today's prices of hosted models into HOME/catalogue/prices.json."""
    from liveweights.catalog.price_library import PricesNotFetched, fetch_prices

    file = home / FOLDER / FILE
    try:
        prices = fetch_prices(datetime.now(UTC), url)
        write_whole(file, encode_prices(prices))
    except (PricesNotFetched, OSError) as error:
        raise refuse(str(error)) from error
    count = sum(len(provider.prices) for provider in prices.providers.values())
    say(f"{count} prices of {len(prices.providers)} providers in {file}")


def _prices(home: Path) -> PriceList:
    """The prices that are in force; ends the command where the list is damaged. Raises
    CatalogueError."""
    from liveweights.catalog.library import open_library

    try:
        return open_library(home, datetime.now(UTC).date()).prices
    except CatalogueError:
        raise
    except (OSError, ValueError) as error:
        raise refuse(str(error)) from error
