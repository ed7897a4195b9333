from __future__ import annotations

import asyncio

import pytest

from liveweights.app.chores import Chores


def test_work_is_known_until_it_has_ended_however_it_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended: list[tuple[str, ...]] = []

    async def go() -> None:
        chores, gate = Chores(lambda: ended.append(tuple(chores))), asyncio.Event()

        async def fail() -> None:
            await gate.wait()
            raise ValueError("it is broken")

        chores.start("a", fail())
        chores.start("b", asyncio.sleep(3600))
        assert ("a" in chores, "b" in chores, "c" in chores) == (True, True, False)
        gate.set()
        while "a" in chores:
            await asyncio.sleep(0)
        for task in chores.tasks():
            task.cancel()
        while "b" in chores:
            await asyncio.sleep(0)

    asyncio.run(go())
    assert ended == [("b",), ()]
    assert "what ran for the model a did not end well" in caplog.text
    assert "it is broken" in caplog.text
    assert "model b" not in caplog.text
