"""What a request asks of the model that is to answer it: ``extra_body={"route": {...}}``."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from liveweights import bounds
from liveweights.terms.facts import LicenceKind
from liveweights.terms.mistakes import describe
from liveweights.terms.rules import Country, Text

Dollars = Annotated[float, Meta(ge=0, le=bounds.WEIGHT)]
"""US dollars for a million tokens."""


MOST = 256
"""Entries of a list: anybody who may ask sends them."""


class RouteError(ValueError):
    """A route that is not understood; the message names the member."""


class Origins(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose models, and under what licences; ``unknown`` is a value of each."""

    countries: Annotated[
        tuple[Country, ...],
        Meta(max_length=MOST, description="ISO 3166-1 alpha-2, or `unknown`."),
    ] = ()
    makers: Annotated[
        tuple[Text, ...], Meta(max_length=MOST, description="As cards name them.")
    ] = ()
    licence_kinds: Annotated[
        tuple[LicenceKind, ...], Meta(max_length=MOST, description="Kinds of licences.")
    ] = ()


ANYBODY = Origins()


class MaxPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of prompts and of answers; None: any."""

    input: Dollars | None = None
    output: Dollars | None = None


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model must be to answer. None, empty or false: it does not matter.

    ``allow``: the model and all that it was derived from must be in each list that is given;
    ``deny``: none of them may be. ``max_price``: one number for prompts and for answers, or one for
    each. ``min_context`` is in tokens. ``local_only``: nothing leaves this machine. ``learnable``:
    it learns from its users. ``min_score`` is what it has at least on ``suite``, by the gate's own
    scale of 0 to 1. ``fallback`` are the models that may answer in its place, in this order; None:
    those of the model itself. What a model is not known to be, it is not.
    """

    allow: Origins = ANYBODY
    deny: Origins = ANYBODY
    max_price: Annotated[
        Dollars | MaxPrice | None,
        Meta(description="US dollars for a million tokens: one number, or `input` and `output`."),
    ] = None
    min_context: Annotated[
        Annotated[int, Meta(ge=1, le=bounds.COUNT)] | None, Meta(description="Tokens.")
    ] = None
    local_only: Annotated[bool, Meta(description="Nothing leaves this machine.")] = False
    learnable: Annotated[bool, Meta(description="It learns from its users.")] = False
    suite: Annotated[
        Text | None, Meta(description="A suite of the gate that it was scored on.")
    ] = None
    min_score: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="Its least score on that suite."),
    ] = None
    fallback: Annotated[
        Annotated[tuple[Text, ...], Meta(max_length=MOST)] | None,
        Meta(description="Models that may answer in its place; not set: its own."),
    ] = None

    def __post_init__(self) -> None:
        if (self.suite is None) != (self.min_score is None):
            there, lacking = (
                ("min_score", "suite") if self.suite is None else ("suite", "min_score")
            )
            raise ValueError(f"{there} needs {lacking} beside it")


ANY = Route()


def parse_route(data: Any, defaults: Route = ANY) -> Route:
    """What the request says, and of ``defaults`` (a key's or a tenant's) what it does not say:
    member by member. Raises RouteError."""
    try:
        route = msgspec.convert(data, Route)
        if defaults is ANY:
            return route
        given = {name: getattr(route, name) for name in data}
        # A score is of a suite: who says one of them, or takes it back, does so with both.
        if "suite" in given or "min_score" in given:
            given |= {"suite": route.suite, "min_score": route.min_score}
        return msgspec.structs.replace(defaults, **given)
    except msgspec.ValidationError as error:
        raise RouteError(f"route: {describe(error, Route)}") from error
