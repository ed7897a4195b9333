"""GET /v1/key: what the calling key may do, and what is left for it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from liveweights.http.authentication import Authenticator
from liveweights.http.wire import reply
from liveweights.meter.holdings import Holding
from liveweights.meter.limits import Account, Limiter
from liveweights.meter.rights import Use


class LimitState(msgspec.Struct, kw_only=True):
    """``left`` of ``most`` per minute, or for ``concurrency`` at once."""

    name: str
    most: int
    left: int


class BudgetState(msgspec.Struct, kw_only=True):
    """In billionths of the tenant's currency. ``of`` says whose: ``key`` or ``tenant``. ``left`` is
    without what running requests may still cost. ``resets_at``: null where it does not begin
    again."""

    of: str
    period: str
    currency: str
    nanos: int
    used_nanos: int
    left_nanos: int
    resets_at: datetime | None


class KeyState(msgspec.Struct, kw_only=True):
    """Empty ``uses``, ``models``, ``endpoints`` and ``route`` bind nothing. ``key`` is what the
    record names it by."""

    object: str = "key"
    tenant: str
    key: str
    uses: tuple[Use, ...]
    models: tuple[str, ...]
    endpoints: tuple[str, ...]
    route: dict[str, Any]
    limits: list[LimitState]
    budgets: list[BudgetState]


class KeyEndpoint:
    """Any key may ask, also one for feedback only."""

    def __init__(self, authenticator: Authenticator, limiter: Limiter) -> None:
        self._authenticator = authenticator
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = await self._authenticator.authenticate(scope)
        await self._limiter.charge(client, "reads")
        account = await self._limiter.look(client)
        now = self._limiter.clock()
        rights = client.rights
        state = KeyState(
            tenant=client.tenant,
            key=client.key[:8],
            uses=rights.uses,
            models=rights.models,
            endpoints=rights.endpoints,
            route=rights.route,
            limits=[
                LimitState(name=name, most=one.limit.most, left=_left(one, now))
                for name, one in account.by_name.items()
            ],
            budgets=_budgets(account, now),
        )
        await reply(send, 200, msgspec.json.encode(state), ((b"cache-control", b"no-store"),))


def _left(holding: Holding, now: float) -> int:
    """What this process and others have, and nobody: others may use theirs."""
    return max(0, min(holding.limit.most, holding.left(now) + holding.others))


def _budgets(account: Account, now: float) -> list[BudgetState]:
    return [
        BudgetState(
            of=money.holding.limit.owner.partition(" ")[0],
            period=money.holding.limit.name,
            currency=account.currency,
            nanos=money.holding.limit.most,
            used_nanos=money.holding.total + money.holding.used,
            left_nanos=_left(money.holding, now),
            resets_at=money.ends,
        )
        for money in account.money
    ]
