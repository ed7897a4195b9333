"""What the options of the commands about keys and tenants mean: limits, budgets, rights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import typer

from liveweights import bounds
from liveweights.cli.context import refuse
from liveweights.meter.budgets import PERIODS, Budget
from liveweights.meter.money import parse_money
from liveweights.meter.rights import USES, Rights
from liveweights.meter.settings import RateLimits
from liveweights.terms.route import RouteError, parse_route

PerMinute = Annotated[
    int | None,
    typer.Option("--requests-per-minute", min=0, max=bounds.COUNT, help="0: no limit."),
]
Tokens = Annotated[
    int | None,
    typer.Option("--tokens-per-minute", min=0, max=bounds.COUNT, help="0: no limit."),
]
AtOnce = Annotated[
    int | None,
    typer.Option("--concurrency", min=0, max=bounds.COUNT, help="Requests at once; 0: no limit."),
]
Money = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        help="Most that may be spent, as PERIOD=AMOUNT in the tenant's currency, such as "
        f"month=250.00; PERIOD is one of {', '.join(PERIODS)}. May be given again.",
    ),
]


def change_limits(
    known: RateLimits | None,
    *,
    requests: int | None,
    tokens: int | None,
    concurrency: int | None,
) -> RateLimits | None:
    """``known`` with what was said; None where nothing is known or said."""
    said = {
        "requests_per_minute": requests,
        "tokens_per_minute": tokens,
        "concurrency": concurrency,
    }
    given = {name: value for name, value in said.items() if value is not None}
    return msgspec.structs.replace(known or RateLimits(), **given) if given else known


def read_budgets(said: Sequence[str] | None) -> tuple[Budget, ...]:
    """Ends the command for what is none."""
    found: list[Budget] = []
    for text in said or ():
        period, equals, amount = text.partition("=")
        if not equals or period not in PERIODS:
            listed = ", ".join(PERIODS)
            raise refuse(f"--budget {text}: say PERIOD=AMOUNT; PERIOD is one of {listed}")
        try:
            nanos = parse_money(amount)
        except ValueError as error:
            raise refuse(f"--budget {text}: {error}") from None
        if nanos < 0:
            raise refuse(f"--budget {text}: the amount is at least 0")
        found.append(Budget(period=period, nanos=nanos))
    return tuple(found)


def read_rights(**said: Any) -> Rights:
    """Ends the command for what no key can have."""
    for use in said["uses"]:
        if use not in USES:
            raise refuse(f"--use {use}: there are {', '.join(USES)}")
    try:
        return msgspec.convert(msgspec.to_builtins(said), Rights)
    except msgspec.ValidationError as error:
        raise refuse(f"{error}") from None


def read_route(text: str | None) -> dict[str, Any]:
    """Ends the command for what is no route."""
    if text is None:
        return {}
    try:
        route = json.loads(text)
        parse_route(route)
    except (ValueError, RecursionError) as error:
        if isinstance(error, RouteError):
            raise refuse(f"--route: {error}") from None
        raise refuse(f"--route is not JSON: {error}") from None
    return route
