"""The rules of use, for commands that do what they are about."""

from __future__ import annotations

from pathlib import Path

from liveweights.app.profiles import CatalogueRefused, read_known
from liveweights.app.terms import make_terms
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.lookup import locate
from liveweights.cli.context import is_nowhere, refuse, write
from liveweights.cli.output import say
from liveweights.config import Config
from liveweights.store.database import Connection
from liveweights.terms.criteria import Candidate
from liveweights.terms.current import Terms
from liveweights.terms.decision import Decision, Match
from liveweights.terms.facts import facts_of, unknown_facts
from liveweights.terms.rules import Action


def read_terms(config: Config, home: Path) -> Terms:
    """What they say of a service's models; ends the command where its catalogue is not
    understood."""
    try:
        return make_terms(config, read_known(config, home))
    except (CatalogueRefused, OSError) as error:
        raise refuse(str(error)) from error


def find_denial(
    config: Config, home: Path, terms: Terms, model: str, action: Action
) -> Match | None:
    """The rule that denies it, which becomes a row whatever comes of it; None: it may be done."""

    async def ask(conn: Connection) -> Match | None:
        await terms.renew(conn)
        denied = terms.permit(model, terms.ask(action))
        await terms.write(conn)
        return denied

    return write(config, home, ask)


def check_export(config: Config, home: Path, model: str) -> None:
    """That weights made from ``model`` may be handed on; what is owed and warned of is said. Ends
    the command where the rules deny it, which becomes a row where there is a service."""
    try:
        known = Catalogue(home)
        located = locate(known, [model])
        facts = facts_of(known, located.card, model) if located else unknown_facts(model)
    except ValueError as error:
        raise refuse(str(error)) from error
    terms = Terms([Candidate(facts=facts)], config.terms, purposes=config.purposes)
    if is_nowhere(config, home):
        denied = terms.permit(model, terms.ask("export"))
    else:
        denied = find_denial(config, home, terms, model, "export")
    if denied is not None:
        raise refuse(f"terms do not allow an export of {model}: {denied} (rule {denied.rule})")
    _tell(terms.decide(model, terms.ask("export")))


def _tell(decision: Decision) -> None:
    for match in decision.matched:
        if match.then == "warn" and match.aside is None:
            say(f"{match.rule}: {match}", fg="yellow", err=True)
    for text in decision.notices:
        say(f"owed: {text}", err=True)
