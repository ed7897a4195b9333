"""Against a port that keeps what it is sent, and answers as a service does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from liveweights.editor.assistant import Assistant, make_user
from liveweights.editor.outbox import Outbox
from liveweights.editor.service import Refused, Service
from liveweights.editor.settings import EditorSettings
from liveweights.editor.text import Change, Place
from liveweights.editor.tracker import Verdict

BEFORE = "def area(width, height):\n    return"
END = Place(1, len("    return"))


class Port:
    """``told`` is the feedback that came; where it is ``away``, all is answered by 503."""

    def __init__(self, *, infill: bool, answer: str) -> None:
        self.settings = EditorSettings()
        self.told: list[tuple[str, str, str | None]] = []
        self.away = False
        self._infill, self._answer = infill, answer
        self._asked = 0

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"capabilities": {"infill": self._infill}})

    async def complete(self, request: web.Request) -> web.Response:
        self._asked += 1
        answer = {"id": f"g{self._asked}", "choices": [{"text": self._answer}]}
        return web.json_response(answer)

    async def tell(self, request: web.Request) -> web.Response:
        if self.away:
            return web.Response(status=503)
        body = await request.json()
        for item in body.get("feedback", [body]):
            self.told.append((item["generation"], item["signal"], item.get("text")))
        return web.json_response({})


@asynccontextmanager
async def listening(*, infill: bool = False, answer: str = " width") -> AsyncGenerator[Port]:
    port = Port(infill=infill, answer=answer)
    app = web.Application()
    app.router.add_get("/v1/models/{model}", port.models)
    app.router.add_post("/v1/completions", port.complete)
    app.router.add_post("/v1/feedback", port.tell)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    port.settings = EditorSettings(consent=True, url=url, debounce=0, settle=0.1, exclude=())
    try:
        yield port
    finally:
        await runner.cleanup()


def write(folder: Path, name: str, text: str = BEFORE) -> str:
    (folder / name).write_text(text)
    return (folder / name).as_uri()


async def show(assistant: Assistant, uri: str, text: str = BEFORE, place: Place = END) -> str:
    assistant.open(uri, "python", text, 1)
    _, shown = await assistant.suggest(uri, place, invoked=True)
    return shown


async def until_told(port: Port, count: int) -> None:
    async with asyncio.timeout(60):
        while len(port.told) < count:
            await asyncio.sleep(0.02)


def test_where_the_model_fills_in_a_bracket_of_the_answers_own_is_shown(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with listening(infill=True, answer="len(x)") as port:
            assistant = Assistant(port.settings, print)
            uri = write(tmp_path, "a.py", "print()\n")
            assert await show(assistant, uri, "print()\n", Place(0, 6)) == "len(x)"
            await assistant.end()

    asyncio.run(scenario())


def test_a_text_that_cannot_be_sent_does_not_stand_in_the_way_of_others() -> None:
    logged: list[str] = []

    async def scenario() -> list[tuple[str, str, str | None]]:
        async with listening() as port:
            service = Service(port.settings, user="me")
            with pytest.raises(Refused, match="cannot be sent"):
                await service.tell([{"generation": "g", "text": "\ud83d"}])
            outbox = Outbox(lambda: service, logged.append)
            outbox.add([Verdict("g1", "correction", "\ud83d"), Verdict("g2", "rejected")])
            await until_told(port, 1)
            await outbox.close()
            await service.close()
            return port.told

    assert asyncio.run(scenario()) == [("g2", "rejected", None)]
    assert len(logged) == 1


def test_half_a_surrogate_that_is_typed_is_told_as_what_stands_for_it(tmp_path: Path) -> None:
    async def scenario() -> list[tuple[str, str, str | None]]:
        async with listening() as port:
            assistant = Assistant(port.settings, print)
            uri = write(tmp_path, "a.py")
            assert await show(assistant, uri) == " width"
            assistant.change(uri, [Change(" \ud83d\n", END, END)], 2)
            await assistant.end()
            return port.told

    assert asyncio.run(scenario()) == [
        ("g1", "rejected", None),
        ("g1", "correction", " \ufffd\n"),
    ]


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"debounce": 0.01, "max_tokens": 33, "settle": 0.2}, True),
        ({"enabled": False}, True),
        ({"user": "another"}, False),
        ({"exclude": ("*.lua",)}, False),
        ({"training": False}, False),
    ],
)
def test_what_waits_is_told_unless_it_is_said_anew_what_may_be_sent(
    tmp_path: Path, change: dict[str, Any], kept: bool
) -> None:
    async def scenario() -> list[tuple[str, str, str | None]]:
        async with listening() as port:
            assistant = Assistant(port.settings, print)
            first, second = write(tmp_path, "a.py"), write(tmp_path, "b.py")
            await show(assistant, first)
            await show(assistant, second)
            port.away = True
            assistant.change(first, [Change(" 42\n", END, END)], 2)
            await asyncio.sleep(0.1)
            await assistant.configure(replace(port.settings, **change))
            port.away = False
            assistant.change(second, [Change(" width", END, END)], 2)
            if kept:
                await until_told(port, 4)
            await assistant.end()
            return sorted(port.told, key=str)

    waited = [("g1", "correction", " 42\n"), ("g1", "rejected", None)]
    followed = [("g2", "accepted", None), ("g2", "edited", " width")]
    assert asyncio.run(scenario()) == ([*waited, *followed] if kept else [])


def test_what_was_taken_is_told_and_nothing_more_offered_once_it_is_switched_off(
    tmp_path: Path,
) -> None:
    async def scenario() -> list[tuple[str, str, str | None]]:
        async with listening(answer=" width * height") as port:
            assistant = Assistant(port.settings, print)
            first, second = write(tmp_path, "a.py"), write(tmp_path, "b.py")
            await show(assistant, first)
            assert await show(assistant, second) == " width * height"
            assistant.change(first, [Change(" width * height", END, END)], 2)
            await until_told(port, 1)
            await assistant.configure(replace(port.settings, enabled=False))
            assert await assistant.suggest(second, END, invoked=True) == ("", "")
            await until_told(port, 2)
            await assistant.configure(port.settings)
            _, shown = await assistant.suggest(second, END, invoked=True)
            assert shown == " width * height"
            await assistant.end()
            return port.told[:2]

    taken = [("g1", "accepted", None), ("g1", "edited", " width * height")]
    assert asyncio.run(scenario()) == taken


def test_what_git_ignores_by_now_is_offered_no_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with listening() as port:
            assistant = Assistant(port.settings, print)
            uri = write(tmp_path, "a.py")
            assert await show(assistant, uri) == " width"
            write(tmp_path, ".gitignore", "a.py\n")
            assert await assistant.suggest(uri, END, invoked=True) == ("", "")
            await assistant.end()

    asyncio.run(scenario())


def test_an_account_without_a_name_is_known_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user has no line in /etc/passwd."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    ours = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 3)
    nameless = make_user()
    assert nameless == make_user()
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 4)
    assert make_user() != nameless
    monkeypatch.setattr(os, "getuid", lambda: ours)
    assert make_user() != nameless


def test_what_is_open_twice_or_not_at_all_is_passed_over(tmp_path: Path) -> None:
    async def scenario() -> None:
        assistant = Assistant(EditorSettings(consent=True), print)
        for _ in range(2):
            assistant.open("file://", "python", "", 1)
        for _ in range(2):
            assistant.close("file://")
        assistant.change("file://", [Change("a")], 2)
        assistant.save("file://")
        await assistant.end()

    asyncio.run(scenario())
