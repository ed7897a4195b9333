"""The rules of use, for commands that do what they are about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from liveweights.app.cards import hash_base
from liveweights.app.profiles import CatalogueRefused, read_known
from liveweights.app.terms import make_terms
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.lookup import digests, locate
from liveweights.cli.context import is_nowhere, refuse, with_all_added, write
from liveweights.cli.output import say
from liveweights.config import Config
from liveweights.store.database import Connection
from liveweights.terms.criteria import Candidate
from liveweights.terms.current import Terms
from liveweights.terms.decision import Decision, Match
from liveweights.terms.facts import facts_of, unknown_facts
from liveweights.terms.rules import Action
from liveweights.weights import hub
from liveweights.weights.models import read_json


def read_terms(config: Config, home: Path) -> Terms:
    """What they say of a service's models; ends the command where its catalogue is not
    understood."""
    try:
        return make_terms(config, read_known(config, home))
    except (CatalogueRefused, OSError) as error:
        raise refuse(str(error)) from error


def find_denial(
    config: Config, home: Path, terms: Terms, models: Iterable[str], action: Action
) -> tuple[str, Match] | None:
    """The first of ``models`` that may not be used so, and the rule that denies it, which becomes a
    row whatever comes of it; None: all may be."""

    def look() -> tuple[str, Match] | None:
        asked = terms.ask(action)
        found = ((model, terms.permit(model, asked)) for model in models)
        return next(((model, match) for model, match in found if match is not None), None)

    async def ask(conn: Connection) -> tuple[str, Match] | None:
        async with terms.renewed(conn):
            return look()

    return look() if is_nowhere(config, home) else write(config, home, ask)


def check_export(
    config: Config,
    home: Path,
    what: str,
    *,
    models: Sequence[str] | None = None,
    names: Iterable[str] = (),
    folder: Path | None = None,
) -> None:
    """That weights made from ``what`` may be handed on; what is owed and warned of is said. Ends
    the command where the rules deny it, which becomes a row where there is a service.

    It is known as the service knows it: by the card of the weights in its ``folder``, else by that
    of one of its ``names``; and by the public names of ``models``, which all have to allow it.
    Without ``models`` it is a base as settings name one, and they are those that are on it.
    """
    cache = config.cache_folder()
    try:
        files = hash_base(str(folder or what), cache)
        if models is None:
            weights = digests(files)
            models = [
                one.alias
                for one in with_all_added(config, home).list_models()
                if _is_same(one.base, what)
                or (weights and digests(hash_base(one.base, cache)) == weights)
            ]
            names = [what, *_origin(what)]
        known = Catalogue(home)
        located = locate(known, names, files)
        called = models or [located.card.hub_id if located else what]
        facts = [
            facts_of(known, located.card, name) if located else unknown_facts(name)
            for name in called
        ]
    except ValueError as error:
        raise refuse(str(error)) from error
    candidates = [Candidate(facts=one) for one in facts]
    terms = Terms(candidates, config.terms, purposes=config.purposes)
    if (denied := find_denial(config, home, terms, called, "export")) is not None:
        name, by = denied
        told = what if name == what else f"{what}, which the rules know as {name}"
        raise refuse(f"terms do not allow an export of {told}: {by} (rule {by.rule})")
    for decision in dict.fromkeys(terms.decide(name, terms.ask("export")) for name in called):
        _tell(decision)


def _is_same(base: str, other: str) -> bool:
    """Whether both name one folder, file or repository."""
    here, there = hub.ADDRESS.fullmatch(base), hub.ADDRESS.fullmatch(other)
    if here and there:
        return here[1].lower() == there[1].lower()
    return Path(base).expanduser().resolve() == Path(other).expanduser().resolve()


def _origin(base: str) -> list[str]:
    """What a folder says that it came from."""
    origin = read_json(Path(base).expanduser() / "origin.json").get("origin")
    return [origin] if isinstance(origin, str) else []


def _tell(decision: Decision) -> None:
    for match in decision.matched:
        if match.then == "warn" and match.aside is None:
            say(f"{match.rule}: {match}", fg="yellow", err=True)
    for text in decision.notices:
        say(f"owed: {text}", err=True)
