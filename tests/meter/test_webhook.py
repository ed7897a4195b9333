"""Word that most of a budget is spent: signed, and tried again."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from liveweights.meter.leases import Limit
from liveweights.meter.limits import Spending
from liveweights.meter.periods import EVER
from liveweights.meter.settings import WarningSettings
from liveweights.meter.webhook import SIGNATURE, Webhook, sign

SECRET = "secret-0123456789"
SPENDING = Spending("acme", "EUR", Limit("key abcdefgh", "month", EVER, "money", 100), 81)


def send(statuses: list[int], **settings: Any) -> list[tuple[dict[str, str], bytes]]:
    """What comes in at a server that answers so, one after the other."""
    taken: list[tuple[dict[str, str], bytes]] = []
    last = asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        taken.append((dict(request.headers), await request.read()))
        status = statuses[len(taken) - 1]
        if len(taken) == len(statuses):
            last.set()
        return web.Response(status=status, headers={"location": "/elsewhere"})

    async def run() -> None:
        application = web.Application()
        application.router.add_post("/hook", handle)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        url = f"http://{host}:{port}/hook"
        async with aiohttp.ClientSession() as session:
            webhook = Webhook(
                WarningSettings(url=url, **settings),
                session,
                pauses=(0.0,) * 3,
                clock=lambda: 1000.5,
            )
            webhook.warn(SPENDING)
            async with asyncio.timeout(60):
                await last.wait()
            await asyncio.sleep(0.05)
            await webhook.close()
        await runner.cleanup()

    asyncio.run(run())
    return taken


def test_a_warning_is_signed_and_says_what_is_spent() -> None:
    [(headers, body)] = send([200], secret=SECRET)
    signed = hmac.new(SECRET.encode(), b"1000." + body, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE] == f"t=1000,v1={signed}" == sign(SECRET, body, 1000)
    said = json.loads(body)
    assert said.pop("id")
    assert said == {
        "type": "budget.warning",
        "tenant": "acme",
        "of": "key abcdefgh",
        "period": "month",
        "since": "1970-01-01T00:00:00+00:00",
        "currency": "EUR",
        "nanos": 100,
        "used_nanos": 81,
    }


@pytest.mark.parametrize(
    "statuses", [[500, 204], [302, 429, 200], [500, 500, 500]], ids=["2nd", "3rd", "never"]
)
def test_it_is_tried_again_and_given_up(statuses: list[int]) -> None:
    taken = send(statuses)
    assert len(taken) == len(statuses)
    assert len({body for _, body in taken}) == 1
    assert all(SIGNATURE not in headers for headers, _ in taken)


def test_without_an_address_nothing_is_sent() -> None:
    async def run() -> None:
        webhook = Webhook(WarningSettings(), None)  # type: ignore[arg-type]
        webhook.warn(SPENDING)
        await webhook.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "said", [{"url": "ftp://x"}, {"url": "http://u:p@x"}, {"secret": "short"}, {"share": 0}]
)
def test_what_cannot_be_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(said, WarningSettings)
