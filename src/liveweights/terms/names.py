"""Names in rules that nothing has: a rule with a slip of the pen matches nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.filters import UNKNOWN
from liveweights.terms.decision import Override
from liveweights.terms.rules import Rule


def find_strange(rules: Iterable[Rule], known: Catalogue) -> Iterator[str]:
    """A sentence for each maker and licence of a rule that the catalogue does not have."""
    makers = {card.maker for card in known.cards.values() if card.maker}
    for rule in rules:
        for where, conditions in (("on", rule.on), ("unless", rule.unless)):
            for member, values, there in (
                ("maker", conditions.maker, makers),
                ("licence", conditions.licence, set(known.licences)),
            ):
                folded = {name.casefold(): name for name in (*there, UNKNOWN)}
                for value in values:
                    if value.casefold() not in folded:
                        place = f"rule {rule.name}: {where}.{member}"
                        yield f"{place}: no card has {value!r}{_hint(value, folded)}"


def find_idle(overrides: Iterable[Override], rules: Iterable[Rule]) -> Iterator[str]:
    """A sentence for each override of a rule that there is not."""
    names = {rule.name: rule.name for rule in rules}
    for one in overrides:
        if one.rule not in names:
            yield f"override of {one.model}: there is no rule {one.rule!r}{_hint(one.rule, names)}"


def _hint(value: str, names: dict[str, str]) -> str:
    wanted = value.casefold()
    part = [name for folded, name in names.items() if wanted in folded]
    near = part or [names[one] for one in get_close_matches(wanted, names, 1)]
    return f"; did you mean {near[0]!r}?" if near else ""
