"""The models of one instance, while rows come and go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from tests.learn.families import make_family

from liveweights.app import lineup as lineup_module
from liveweights.app.lineup import Lineup
from liveweights.app.place import Place
from liveweights.app.seat import Seat
from liveweights.app.terms import Lookout, make_terms
from liveweights.catalog.card import read_card
from liveweights.catalog.card_files import FOLDER
from liveweights.config import Config
from liveweights.engines.protocol import Sampling
from liveweights.model_table import ModelTable
from liveweights.release import models as rows
from liveweights.release.models import Standing
from liveweights.release.standing import stand
from liveweights.serve.router import Router
from liveweights.store.database import Connection, Pool, open_pool
from liveweights.terms.current import kept
from liveweights.terms.decision import Override
from liveweights.terms.roster import NoModelFits
from liveweights.terms.rows import add_override, read_denials
from liveweights.terms.rules import Conditions, Rule
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import find

pytestmark = pytest.mark.timeout(900)
FAR = {"upstream": "http://127.0.0.1:1/v1"}
ENGINE = {"kind": "torch", "context_length": 64, "threads": 1, "slots": 2}


class Stage:
    def __init__(self, pool: Pool, lineup: Lineup, lookout: Lookout) -> None:
        self.pool, self.lineup, self.lookout = pool, lineup, lookout

    async def change(self, what: Callable[[Connection], Awaitable[Any]]) -> None:
        async with self.pool.connection() as conn:
            await what(conn)

    def standing(self, name: str) -> Standing | None:
        return next((s for s in self.lineup.standings() if s.model == name), None)

    async def until(self, name: str, state: str | None, version: int | None = None) -> Standing:
        async with asyncio.timeout(240):
            while True:
                there = self.standing(name)
                if there is None and state is None:
                    return Standing("", name, "cold")
                if there and (there.state, there.version) == (state, version):
                    return there
                await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_family("qwen3", tmp_path_factory.mktemp("lineup") / "tiny")


def run(
    dsn: str,
    folder: Path,
    models: dict[str, Any],
    test: Callable[[Stage], Awaitable[None]],
    *,
    terms: Sequence[Rule] = (),
    is_open: bool = False,
) -> None:
    @asynccontextmanager
    async def staged() -> AsyncGenerator[Stage]:
        raw = {
            "cache": str(folder / "cache"),
            "engine": ENGINE,
            "models": models,
            "api": {"open": is_open},
        }
        config = msgspec.structs.replace(msgspec.convert(raw, Config), terms=tuple(terms))
        pool = await open_pool(dsn)
        try:
            bases = [find(model.base, config.cache_folder()) for model in config.list_models()]
            for model, checkpoint in zip(config.list_models(), bases, strict=True):
                facts = read_card(checkpoint, config.cache_folder())
                async with pool.connection() as conn:
                    await stand(conn, model.alias, checkpoint, facts, model=model.base)
            place = Place(config, folder, dsn)
            lookout = Lookout(pool, make_terms(config, {}))
            async with (
                kept(lookout.terms, pool),
                Lineup(pool, place, instance="here", bases=bases, lookout=lookout) as lineup,
            ):
                yield Stage(pool, lineup, lookout)
        finally:
            await pool.close()

    async def go() -> None:
        async with staged() as stage:
            await test(stage)

    asyncio.run(go())


def test_hosted_models_come_change_and_go_at_once(database_dsn: str, tmp_path: Path) -> None:
    async def test(stage: Stage) -> None:
        hosted = stage.lineup.hosted
        await stage.change(lambda conn: rows.add(conn, "big", FAR))
        await stage.until("big", "hosted", 1)
        before = hosted.get("big")
        assert before is not None
        with hosted.hold(["big"]) as held:
            changed = {**FAR, "upstream_model": "org/big", "fallback": ["code", "far"]}
            await stage.change(lambda conn: rows.change(conn, "big", changed))
            await stage.until("big", "hosted", 2)
            after = hosted.get("big")
            assert after is not None
            assert after.settings.model == "org/big"
            # A fallback that nobody knows cannot answer in its place.
            assert stage.lookout.terms.choose("big", None) == ("big", "far")
            # Who asked before is still answered by what there was.
            assert held["big"] is before
            assert not before.upstream._session.closed  # type: ignore[union-attr]
        await stage.change(lambda conn: rows.remove(conn, "big"))
        await stage.until("big", None)
        assert hosted.get("big") is None
        assert "big" not in stage.lookout.terms.roster
        assert stage.lookout.profiles.keys() == {"far"}

    run(database_dsn, tmp_path, {"far": FAR}, test)


def test_what_does_not_work_is_told_and_the_others_go_on(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BIG_KEY", raising=False)

    async def told(stage: Stage) -> str | None:
        async with stage.pool.connection() as conn:
            there = {one.model: one.state for one in await rows.read_standings(conn)}
        return there.get("right")

    async def test(stage: Stage) -> None:
        await stage.change(lambda conn: rows.add(conn, "big", {**FAR, "key_env": "BIG_KEY"}))
        await stage.change(lambda conn: rows.add(conn, "small", {"base": "no/such"}))
        await stage.change(lambda conn: rows.add(conn, "odd", {"bass": 1}))
        await stage.change(lambda conn: rows.add(conn, "far", {"upstream": "http://elsewhere"}))
        await stage.change(lambda conn: rows.add(conn, "right", FAR))
        await stage.until("right", "hosted", 1)
        for name, why in (("big", "BIG_KEY is not set"), ("small", "no/such"), ("odd", "bass")):
            assert why in ((await stage.until(name, "failed", 1)).error or "")
        # The settings file's own is as it is there.
        far = stage.lineup.hosted.get("far")
        assert far is not None
        assert far.settings.upstream == FAR["upstream"]
        assert stage.standing("far") == Standing("here", "far", "hosted")
        async with asyncio.timeout(30):
            while await told(stage) != "hosted":
                await asyncio.sleep(0.02)

    run(database_dsn, tmp_path, {"far": FAR}, test, is_open=True)


def test_nothing_stays_beside_a_model_that_is_hosted_from_now_on(
    database_dsn: str, tmp_path: Path
) -> None:
    """It was going over to another base."""

    async def test(stage: Stage) -> None:
        lineup = stage.lineup
        local = lineup.config.with_models({"big": ModelTable()}).find_model("big")
        seats: list[Seat] = []
        closed: list[Seat] = []
        for _ in range(2):
            base = Checkpoint(id="a@000000000000", kind="base", folder=tmp_path)
            model: Any = SimpleNamespace(router=Router(), share=None)
            seat = Seat(settings=local, version=0, base=base, model=model)
            seat.stack.callback(closed.append, seat)
            lineup.models.add(model)
            seats.append(seat)
        lineup._seats["big"], lineup._crossing.beside["big"] = seats
        await stage.change(lambda conn: rows.add(conn, "big", FAR))
        await stage.until("big", "hosted", 1)
        async with asyncio.timeout(30):
            while len(closed) < 2:
                await asyncio.sleep(0.02)
        assert not lineup._crossing.beside
        assert not list(lineup.models)

    run(database_dsn, tmp_path, {"far": FAR}, test)


def test_a_row_makes_no_open_relay(database_dsn: str, tmp_path: Path) -> None:
    async def test(stage: Stage) -> None:
        keyed = {"engine": {"kind": "openai"}, "openai": {"key": "sk-secret"}}
        await stage.change(lambda conn: rows.add(conn, "big", {**FAR, "key_env": "BIG_KEY"}))
        await stage.change(lambda conn: rows.add(conn, "own", keyed))
        error = (await stage.until("big", "failed", 1)).error or ""
        assert "models.big.key_env is set and api.keys is not" in error
        assert "keeps no secrets" in ((await stage.until("own", "failed", 1)).error or "")
        assert stage.lineup.hosted.get("big") is None

    run(database_dsn, tmp_path, {"far": FAR}, test)


def test_terms_hold_for_what_is_added_too(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineup_module, "RETRY", 0.1)
    monkeypatch.setattr(lineup_module, "HEARTBEAT", 0.1)
    barred = Rule(
        name="not-yet",
        when=("load",),
        on=Conditions(model=("big",)),
        then="deny",
        reason="not looked at",
    )

    async def denials(stage: Stage) -> list[tuple[str, str]]:
        async with stage.pool.connection() as conn:
            return [(one.model, one.action) for one in await read_denials(conn)]

    async def test(stage: Stage) -> None:
        terms = stage.lookout.terms
        await stage.change(lambda conn: rows.add(conn, "big", FAR))
        error = (await stage.until("big", "failed", 1)).error or ""
        assert "'big' is not loaded: not looked at (model big). The rule is not-yet" in error
        await asyncio.sleep(0.5)  # it is tried again, which is no other denial
        assert await denials(stage) == [("big", "load")]
        with pytest.raises(NoModelFits, match="not loaded: not looked at"):
            terms.choose("big", None)
        assert "big" not in stage.lineup.config.names()
        override = Override(model="big", rule="not-yet", who="a", why="b", until=date.max)
        await stage.change(lambda conn: add_override(conn, override))
        await stage.until("big", "hosted", 1)
        assert terms.choose("big", None) == ("big",)
        await stage.change(lambda conn: rows.remove(conn, "big"))
        await stage.until("big", None)
        assert "big" not in terms.roster

    run(database_dsn, tmp_path, {"far": FAR}, test, terms=[barred])


def test_a_local_model_is_added_changed_and_removed_while_another_answers(
    database_dsn: str, tmp_path: Path, base: Path
) -> None:
    async def test(stage: Stage) -> None:
        models = stage.lineup.models

        async def ask(name: str) -> None:
            with models.pin(name, None) as (model, pin):
                how = Sampling(max_tokens=2)
                assert [t async for t in model.engine.generate(pin.checkpoint, [5, 6], how)]

        await stage.until("code", "ready")
        await stage.change(lambda conn: rows.add(conn, "more", {"base": str(base)}))
        await stage.until("more", "ready", 1)
        assert models.states() == {"code": "ready", "more": "ready"}
        await ask("more")
        before = models.find("more")
        learnt = {"base": str(base), "rewards": {"accepted": 0.5}}
        await stage.change(lambda conn: rows.change(conn, "more", learnt))
        await stage.until("more", "ready", 2)
        assert models.find("more") is before  # nothing had to be loaded for it
        assert stage.lineup.config.find_model("more").rewards.accepted == 0.5
        with models.pin("more", None) as (held, pin):
            slower = {**learnt, "engine": {"slots": 1}}
            await stage.change(lambda conn: rows.change(conn, "more", slower))
            await stage.until("more", "ready", 3)
            assert models.find("more") is not before
            how = Sampling(max_tokens=2)
            assert [t async for t in held.engine.generate(pin.checkpoint, [5], how)]
        await ask("more")
        broken = {**learnt, "base": str(tmp_path / "gone")}
        await stage.change(lambda conn: rows.change(conn, "more", broken))
        assert "gone" in ((await stage.until("more", "failed", 4)).error or "")
        await ask("more")  # by what it went by before
        await stage.change(lambda conn: rows.remove(conn, "more"))
        await stage.until("more", None)
        assert models.states() == {"code": "ready"}
        await ask("code")

    run(database_dsn, tmp_path, {"code": {"base": str(base), "learn": False}}, test)


def test_a_budget_lets_models_take_turns(database_dsn: str, tmp_path: Path, base: Path) -> None:
    async def test(stage: Stage) -> None:
        models = stage.lineup.models
        async with asyncio.timeout(60):
            while sorted(models.states().values()) != ["cold", "ready"]:
                await asyncio.sleep(0.02)
        cold = next(name for name, state in models.states().items() if state == "cold")
        assert models.can_answer(cold)
        share = models.find(cold).share
        assert share is not None
        async with share.use() as waited:
            assert waited > 0
            with models.pin(cold, None) as (model, pin):
                how = Sampling(max_tokens=2)
                assert [t async for t in model.engine.generate(pin.checkpoint, [5], how)]
        assert models.states()[cold] == "ready"
        assert sorted(models.states().values()) == ["cold", "ready"]

    one = find(str(base), tmp_path / "cache")
    size = read_card(one, tmp_path / "cache")["parameters"] * 4
    memory = {"memory_gib": 1.5 * size / 2**30}
    table = {"base": str(base), "learn": False}
    run(database_dsn, tmp_path, {**memory, "a": table, "b": table}, test)


def test_what_could_not_be_read_is_read_at_the_next_look(database_dsn: str, tmp_path: Path) -> None:
    own = tmp_path / FOLDER / "own.toml"
    own.parent.mkdir()

    async def test(stage: Stage) -> None:
        await stage.change(lambda conn: rows.add(conn, "big", FAR))
        await stage.until("big", "hosted", 1)
        assert stage.lookout.profiles["far"].base is None
        own.write_text("[[models]")
        await stage.change(lambda conn: rows.remove(conn, "big"))
        await stage.until("big", None)
        await stage.lineup.step()
        assert stage.lookout.profiles["far"].base is None
        own.write_text('[[models]]\nhub_id = "org/far"\nname = "Far"\n')
        await stage.lineup.step()
        assert stage.lookout.profiles["far"].base == "org/far"

    run(database_dsn, tmp_path, {"far": {**FAR, "upstream_model": "org/far"}}, test)
