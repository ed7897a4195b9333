"""Rules of use as settings: ``[[terms]]`` tables."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from liveweights.catalog.licences import DutyKind
from liveweights.terms.facts import LicenceKind
from liveweights.terms.mistakes import describe

Action = Literal["load", "route", "learn", "export", "release"]
ACTIONS: tuple[Action, ...] = ("load", "route", "learn", "export", "release")
"""``load``: its weights, or its upstream, are made ready to answer. ``route``: it answers a
request. ``learn``: weights are trained on what it answered. ``export``: its weights, or weights
made from it, are handed on. ``release``: a checkpoint made from it goes live."""
Then = Literal["allow", "warn", "deny", "notice"]
Learner = Literal["itself", "another"]
"""Whose weights are trained on its answers."""

Text = Annotated[str, Meta(min_length=1, max_length=1000)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Country = Annotated[str, Meta(pattern="^([A-Z]{2}|unknown)$")]
"""ISO 3166-1 alpha-2."""
Purpose = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""What answers are used for, such as ``commercial`` or ``research``; ``unknown``: nobody said."""


class TermsError(ValueError):
    """A rule that is not understood; the message names rule and member."""


class Conditions(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """All members that are given must hold; a member holds where one of its values does.

    ``model`` is a public name or a hub id. Names are compared whatever their case. ``unknown`` is
    a value of ``licence``, ``licence_kind``, ``country``, ``maker`` and ``purpose``.
    """

    model: tuple[Text, ...] = ()
    licence: tuple[Text, ...] = ()
    licence_kind: tuple[LicenceKind, ...] = ()
    duty: tuple[DutyKind, ...] = ()
    country: tuple[Country, ...] = ()
    maker: tuple[Text, ...] = ()
    tenant: tuple[Text, ...] = ()
    purpose: tuple[Purpose, ...] = ()
    learner: tuple[Learner, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is asked."""
        return any(getattr(self, member) for member in self.__struct_fields__)


class Rule(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """``when`` one of these actions is to be taken, and ``on`` holds, and ``unless`` does not,
    ``then`` that, for the ``reason``.

    The model and each that it was derived from are asked for themselves: the rule matches where it
    matches one of them. It is in force from ``since`` to ``until``, both days included (UTC).
    ``notice`` allows, and says what is to be shown or passed on: the texts of the duties that
    ``on`` names, else the reason.
    """

    name: Name
    when: Annotated[tuple[Action, ...], Meta(min_length=1)] = ACTIONS
    on: Conditions = Conditions()
    unless: Conditions = Conditions()
    since: datetime.date | None = None
    until: datetime.date | None = None
    then: Then
    reason: Text

    def __post_init__(self) -> None:
        if self.since and self.until and self.until < self.since:
            raise ValueError(f"until ({self.until}) is before since ({self.since})")
        other = [action for action in self.when if action != "learn"]
        for member, conditions in (("on", self.on), ("unless", self.unless)):
            if conditions.learner and other:
                raise ValueError(
                    f"{member}.learner is about learning alone, and the rule is for "
                    f'{", ".join(other)} too; write when = ["learn"]'
                )


def parse_rules(tables: Any, taken: Sequence[str] = ()) -> tuple[Rule, ...]:
    """Rules in their order; ``taken`` are names of other rules. Raises TermsError."""
    if not isinstance(tables, Sequence) or isinstance(tables, str):
        raise TermsError("terms is no list of tables: begin each rule by [[terms]]")
    rules: list[Rule] = []
    for number, table in enumerate(tables, 1):
        where = _name(number, table)
        try:
            rule = msgspec.convert(table, Rule)
        except msgspec.ValidationError as error:
            raise TermsError(f"{where}: {describe(error, Rule)}") from error
        if rule.name in taken:
            raise TermsError(
                f"{where}: name: {rule.name!r} is the name of a rule that liveweights brings "
                "along; choose another"
            )
        if any(rule.name == other.name for other in rules):
            raise TermsError(f"{where}: name: another rule has it too; choose another")
        rules.append(rule)
    return tuple(rules)


def _name(number: int, table: Any) -> str:
    name = table.get("name") if isinstance(table, Mapping) else None
    return f"[[terms]] {number}" + (f" ({name})" if isinstance(name, str) else "")
