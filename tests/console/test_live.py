from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.console import live
from liveweights.console.live import Feed, event
from liveweights.http.errors import ApiError
from liveweights.http.glance import Glance


@given(st.text())
def test_any_text_is_one_event(text: str) -> None:
    lines = event("circle", text).decode().split("\n")
    assert lines[0] == "event: circle"
    assert lines[-2:] == ["", ""]
    assert all(line.startswith("data: ") and "\r" not in line for line in lines[1:-2])
    assert "".join(line[6:] for line in lines[1:-2]) == "".join(text.splitlines())


class Viewer:
    """One who looks until ``gone``, and who may as long as ``allowed``."""

    def __init__(self) -> None:
        self.allowed = True
        self.gone = asyncio.Event()
        self.heard = asyncio.Queue[bytes]()

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def may(self) -> bool:
        return self.allowed

    async def send(self, message: Any) -> None:
        if body := message.get("body"):
            self.heard.put_nowait(body)


def test_all_who_look_share_one_look_and_hear_of_changes_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live, "EVERY", 0.01)

    async def scenario() -> None:
        state, looks = "<p>resting</p>", 0

        async def look() -> str:
            nonlocal looks
            looks += 1
            return state

        feed = Feed({"m": Glance(look, seconds=0.01)}.__getitem__)
        viewers = [Viewer() for _ in range(20)]
        streams = [
            asyncio.create_task(feed.stream("m", one.receive, one.send, may=one.may))
            for one in viewers
        ]
        assert {await one.heard.get() for one in viewers} == {event("circle", state)}
        assert looks == 1
        while looks < 5:
            await asyncio.sleep(0.01)
        assert all(one.heard.empty() for one in viewers)
        state = "<p>learning</p>"
        assert {await one.heard.get() for one in viewers} == {event("circle", state)}
        viewers[0].gone.set()
        await streams[0]
        assert not streams[1].done()
        feed.close()
        await asyncio.gather(*streams)

    asyncio.run(scenario())


def test_who_may_look_no_more_hears_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "EVERY", 0.01)

    async def scenario() -> None:
        state = "<p>resting</p>"

        async def look() -> str:
            return state

        feed = Feed({"m": Glance(look, seconds=0.0)}.__getitem__)
        one, other = Viewer(), Viewer()
        ends = asyncio.create_task(feed.stream("m", one.receive, one.send, may=one.may))
        stays = asyncio.create_task(feed.stream("m", other.receive, other.send, may=other.may))
        await one.heard.get()
        await other.heard.get()
        one.allowed = False
        state = "<p>a secret</p>"
        async with asyncio.timeout(60):
            await ends
            assert await other.heard.get() == event("circle", state)
        assert one.heard.empty()
        assert not stays.done()
        feed.close()
        await stays

    asyncio.run(scenario())


def test_a_quiet_stream_shows_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "EVERY", 0.01)
    monkeypatch.setattr(live, "QUIET", 0.0)

    async def scenario() -> None:
        async def look() -> str:
            return "same"

        feed, viewer = Feed({"m": Glance(look)}.__getitem__), Viewer()
        stream = asyncio.create_task(feed.stream("m", viewer.receive, viewer.send, may=viewer.may))
        await viewer.heard.get()
        assert await viewer.heard.get() == live.ALIVE
        feed.close()
        await stream

    asyncio.run(scenario())


def test_more_than_can_be_watched_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "VIEWERS", 1)

    async def scenario() -> None:
        async def look() -> str:
            return "same"

        feed, one, other = Feed({"m": Glance(look)}.__getitem__), Viewer(), Viewer()
        stream = asyncio.create_task(feed.stream("m", one.receive, one.send, may=one.may))
        await one.heard.get()
        with pytest.raises(ApiError, match="watched already"):
            await feed.stream("m", other.receive, other.send, may=other.may)
        monkeypatch.setattr(live, "EACH", 1)
        with pytest.raises(ApiError, match="You watch 1 pages"):
            await feed.stream("m", other.receive, other.send, may=other.may)
        feed.close()
        await stream

    asyncio.run(scenario())
