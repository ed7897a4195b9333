"""A model that goes or changes while its other base is being opened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from liveweights.app import crossing as crossing_module
from liveweights.app.crossing import Crossing
from liveweights.app.knowledge import Knowledge
from liveweights.app.opening import Opener
from liveweights.app.place import Place
from liveweights.app.seat import Seat
from liveweights.app.terms import Lookout, make_terms
from liveweights.config import Config
from liveweights.cycle.bases import Standing
from liveweights.serve.hosted.models import HostedModels
from liveweights.serve.models import Models
from liveweights.store.database import open_pool
from liveweights.terms.rows import read_denials
from liveweights.terms.rules import Rule
from liveweights.weights.checkpoint import Checkpoint

OLD, NEW = (
    Checkpoint(id=f"{name}@000000000000", kind="base", folder=Path("/"), parent=None)
    for name in ("old", "new")
)
RULE = Rule(name="not-here", when=("load",), then="deny", reason="so")
STANDS = {"code": Standing(OLD.id, NEW.id, {OLD.id: "old", NEW.id: "new"})}


class Stage:
    """A model ``code`` on its first base; opening another waits for ``gate``."""

    def __init__(self) -> None:
        self.gate, self.begun = asyncio.Event(), asyncio.Event()
        self.opened: list[Seat] = []
        self.closed: list[Seat] = []
        self.models = Models()
        self.seats = {"code": self.make_seat(OLD)}
        knowledge: Any = SimpleNamespace(
            config=Config(), look_up_on=self._nothing, ask_terms=self._nothing
        )
        opener: Any = self
        self.crossing = Crossing(self.models, opener, knowledge, self.seats, lambda: None)

    def make_seat(self, base: Checkpoint) -> Seat:
        model: Any = object()
        seat = Seat(settings=Config(alias="code").find_model(), version=1, base=base, model=model)
        seat.stack.callback(self.closed.append, seat)
        return seat

    async def open_fitted(self, *_: object, **__: object) -> Seat:
        self.begun.set()
        await self.gate.wait()
        self.opened.append(self.make_seat(NEW))
        return self.opened[-1]

    async def drain(self, seat: Seat) -> None:
        await seat.stack.aclose()

    async def _nothing(self, *_: object, **__: object) -> None:
        return None

    async def begin(self) -> None:
        self.crossing.step(STANDS, ())
        await self.begun.wait()

    async def settle(self) -> None:
        self.gate.set()
        while self.crossing.chores.tasks():
            await asyncio.sleep(0)


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Stage], Awaitable[None]]], None]:
    async def find(*_: object, **__: object) -> Checkpoint:
        return NEW

    monkeypatch.setattr(crossing_module, "find_base", find)

    def run(test: Callable[[Stage], Awaitable[None]]) -> None:
        async def scenario() -> None:
            await test(Stage())

        asyncio.run(scenario())

    return run


def test_the_other_base_is_opened_beside_the_one_that_answers(play: Any) -> None:
    async def test(stage: Stage) -> None:
        await stage.begin()
        await stage.settle()
        assert stage.crossing.beside == {"code": stage.opened[0]}
        assert list(stage.models) == [stage.opened[0].model]
        await stage.crossing.leave("code")
        assert stage.closed == stage.opened
        assert not list(stage.models)

    play(test)


def test_a_removed_models_other_base_is_not_opened_any_more(play: Any) -> None:
    async def test(stage: Stage) -> None:
        await stage.begin()
        del stage.seats["code"]
        await stage.crossing.leave("code")
        await stage.settle()
        assert (stage.opened, stage.crossing.beside, list(stage.models)) == ([], {}, [])
        # Added again, it goes over again.
        stage.seats["code"] = stage.make_seat(OLD)
        await stage.begin()
        await stage.settle()
        assert stage.crossing.beside == {"code": stage.opened[0]}

    play(test)


@pytest.mark.parametrize("is_removed", [True, False], ids=["removed", "changed"])
def test_what_was_opened_for_a_model_that_is_no_more_is_closed(play: Any, is_removed: bool) -> None:
    async def test(stage: Stage) -> None:
        await stage.begin()
        if is_removed:
            del stage.seats["code"]
        else:
            stage.seats["code"] = stage.make_seat(OLD)
        await stage.settle()
        assert stage.closed == stage.opened != []
        assert (stage.crossing.beside, list(stage.models)) == ({}, [])

    play(test)


def test_a_model_that_goes_before_the_opening_has_begun_leaves_nothing(play: Any) -> None:
    async def test(stage: Stage) -> None:
        stage.crossing.step(STANDS, ())
        del stage.seats["code"]
        await stage.crossing.leave("code")
        await stage.settle()
        assert (stage.opened, stage.crossing.beside) == ([], {})
        stage.seats["code"] = stage.make_seat(OLD)
        await stage.begin()
        await stage.settle()
        assert stage.crossing.beside == {"code": stage.opened[0]}

    play(test)


def test_a_base_that_may_not_be_loaded_is_told_of_in_one_row_however_often_it_is_tried(
    database_dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(crossing_module, "RETRY", 0.0)
    config = msgspec.structs.replace(Config(), terms=(RULE,), cache=str(tmp_path))

    async def go() -> None:
        pool, place = await open_pool(database_dsn), Place(config, tmp_path, database_dsn)
        models = Models()
        knowledge = Knowledge(pool, place, Lookout(pool, make_terms(config, {})))
        opener = Opener(pool, place, models, HostedModels(), instance="here")
        seat = Seat(
            settings=config.find_model("code"),
            version=None,
            base=OLD,
        )
        crossed = Crossing(models, opener, knowledge, {"code": seat}, lambda: None)
        for _ in range(3):
            crossed.step({"code": Standing(OLD.id, NEW.id, {NEW.id: str(tmp_path / "new")})}, ())
            await asyncio.gather(*crossed.chores.tasks())
        assert crossed.beside == {}
        async with pool.connection() as conn:
            assert [one.rule for one in await read_denials(conn)] == ["not-here"]
        await pool.close()

    asyncio.run(go())
    assert caplog.text.count("is not loaded: so") == 3
