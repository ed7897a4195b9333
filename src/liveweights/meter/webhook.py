"""Word to the operator that most of a budget is spent, by a signed webhook."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
import uuid
from collections.abc import Callable

import aiohttp
import msgspec

from liveweights.meter.limits import Spending
from liveweights.meter.settings import WarningSettings

log = logging.getLogger(__name__)

PAUSES = (0.0, 1.0, 10.0, 60.0)
"""Seconds before each attempt."""
TIMEOUT = 10.0
WAITING = 256
"""Warnings that are under way; with more the newest are only logged."""
SIGNATURE = "x-liveweights-signature"


class BudgetWarning(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent, as JSON. ``id`` is the same in every attempt. ``of`` is ``key ID`` or ``tenant
    NAME``; amounts are billionths of ``currency``; ``since`` is when the budget began."""

    id: str
    type: str = "budget.warning"
    tenant: str
    of: str
    period: str
    since: str
    currency: str
    nanos: int
    used_nanos: int


def describe(spending: Spending) -> BudgetWarning:
    limit = spending.limit
    return BudgetWarning(
        id=uuid.uuid4().hex,
        tenant=spending.tenant,
        of=limit.owner,
        period=limit.name,
        since=limit.begins.isoformat(),
        currency=spending.currency,
        nanos=limit.most,
        used_nanos=spending.used,
    )


def sign(secret: str, body: bytes, at: int) -> str:
    """``t=SECONDS,v1=HEX``: HMAC-SHA256 of ``SECONDS.BODY``, as Stripe signs its webhooks."""
    signed = f"{at}.".encode() + body
    return f"t={at},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


class Webhook:
    """Sends each warning until it is taken (2xx), at most as often as there are ``pauses``."""

    def __init__(
        self,
        settings: WarningSettings,
        session: aiohttp.ClientSession,
        *,
        pauses: tuple[float, ...] = PAUSES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._session = session
        self._pauses = pauses
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    def warn(self, spending: Spending) -> None:
        """Returns at once."""
        warning = describe(spending)
        share = warning.used_nanos / warning.nanos if warning.nanos else 1.0
        log.warning("%.0f%% of a budget is spent: %s, %s", 100 * share, warning.of, warning.period)
        if not self._settings.url:
            return
        if len(self._tasks) >= WAITING:
            log.error("the warning %s is not sent: %d others wait", warning.id, WAITING)
            return
        task = asyncio.create_task(self._send(warning))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """What was not taken yet is left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _send(self, warning: BudgetWarning) -> None:
        body = msgspec.json.encode(warning)
        for pause in self._pauses:
            await asyncio.sleep(pause)
            if (fault := await self._try(body)) is None:
                return
            log.warning("the warning %s was not taken: %s", warning.id, fault)
        log.error("the warning %s is given up", warning.id)

    async def _try(self, body: bytes) -> str | None:
        """What went wrong; None where it was taken."""
        headers = {"content-type": "application/json"}
        if self._settings.secret:
            headers[SIGNATURE] = sign(self._settings.secret, body, int(self._clock()))
        try:
            async with self._session.post(
                self._settings.url,
                data=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT),
                allow_redirects=False,
            ) as answer:
                return None if 200 <= answer.status < 300 else f"it answers {answer.status}"
        except (aiohttp.ClientError, TimeoutError) as error:
            return f"{type(error).__name__}: {error}"
