from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from liveweights.gate.findings import Measured
from liveweights.gate.settings import GateSettings
from liveweights.gate.suites.battery import Asking, list_episodes, plan, run_episodes
from liveweights.gate.suites.suite import SuiteError

Say = Callable[[dict[str, Any]], tuple[int, str]]


def episodes(say: Say, settings: GateSettings) -> tuple[tuple[Measured, ...], tuple[str, ...]]:
    """What a service whose answers to a chat are ``say`` comes to."""

    async def serve(request: web.Request) -> web.Response:
        status, text = say(await request.json())
        choices = [{"message": {"content": text}}]
        return web.json_response({"choices": choices}, status=status)

    async def run() -> Any:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", serve)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            return await run_episodes(Asking(url=url, candidate="m@2", incumbent="m@1"), settings)
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def test_suites_of_whole_episodes_are_asked_of_both_in_clusters() -> None:
    found, left_out = episodes(lambda body: (200, "No."), GateSettings(episodes=("tools",)))
    assert left_out == ()
    (measured,) = found
    assert (measured.suite, measured.aim, measured.planned) == ("tools", "no_harm", 100)
    assert measured.candidate == measured.incumbent
    assert sum(measured.candidate) == 25  # where no tool fits
    assert measured.groups is not None
    assert len(set(measured.groups)) == 16  # ten tools, and six questions without one


def test_what_a_service_refuses_is_left_out_with_the_reason() -> None:
    def say(body: dict[str, Any]) -> tuple[int, str]:
        return (400, "") if "tools" in body else (200, "DONE")

    settings = GateSettings(episodes=("tools", "search"), suite_cases=3)
    found, left_out = episodes(say, settings)
    assert found == ()
    assert [reason.split(":")[0] for reason in left_out] == [
        "tools was left out",
        "search was left out",
    ]
    assert "every case was refused" in left_out[0]


def test_a_suite_that_there_is_not_is_told() -> None:
    with pytest.raises(SuiteError, match="there is no suite 'nonsense'"):
        episodes(lambda body: (200, ""), GateSettings(episodes=("nonsense",)))


def test_what_is_asked_anyway_is_asked_once_and_errors_are_shared() -> None:
    settings = GateSettings(suites=("search",), margins={"search": 0.2, "tools": 0.3})
    assert list_episodes(settings) == ("tools", "terminal")
    assert plan("tools", settings, 3).margin == 0.3
    assert plan("search", settings, 3).stop_at == pytest.approx(0.025 / 6)
