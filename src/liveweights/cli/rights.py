"""What the commands about keys and tenants share: limits, budgets, and how rows are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from liveweights import bounds
from liveweights.cli.context import refuse
from liveweights.meter.budgets import PERIODS, Budget
from liveweights.meter.key_rows import KeyRow
from liveweights.meter.money import parse_money, show_money
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


def show_budgets(budgets: Sequence[Budget]) -> str:
    return ", ".join(f"{budget.period}={show_money(budget.nanos)}" for budget in budgets)


def show_limits(limits: RateLimits | None) -> str:
    """Empty for the settings'."""
    if limits is None:
        return ""
    given = {name: value for name, value in msgspec.structs.asdict(limits).items() if value}
    return ", ".join(f"{name}={value}" for name, value in given.items()) or "none"


def state_of(row: KeyRow) -> str:
    """What a key is good for now, in a word."""
    if row.revoked_at is not None:
        return "revoked"
    if row.expires_at is not None and row.expires_at <= datetime.now(UTC):
        return "expired"
    return "live"
