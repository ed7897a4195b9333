"""Whose an answer was when it was given, whatever its alias stands on now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests.record.rows import make_feedback, make_generation

from liveweights.adoption.own import Week
from liveweights.app.adoption import read_weeks
from liveweights.app.exposure import read_exposure
from liveweights.catalog.card_files import FOLDER
from liveweights.catalog.prices import FILE, ListedPrice, PriceList, Provider, encode_prices
from liveweights.config import Config
from liveweights.exposure.report import Exposure
from liveweights.exposure.without import parse_without
from liveweights.insight.window import Window, WindowError
from liveweights.record.writer import Writer
from liveweights.store.database import Connection, open_pool

T = TypeVar("T")
OLD, NEW = "old@000000000000", "smollm2-135m-instruct@111111111111"
LEARNT, OWN = "learnt@222222222222", "own@333333333333"
SINCE, UNTIL = datetime(2026, 10, 5, tzinfo=UTC), datetime(2026, 10, 19, tzinfo=UTC)
CHECKPOINTS = {"old": OLD, "learnt": LEARNT, "new": NEW, "import": "gpt-x@import"}
"""What answered, each so often as its place says: once what is first."""
CONFIG = msgspec.convert(
    {
        "models": {
            "code": {"base": "smollm2-135m-instruct"},
            "far": {"upstream": "https://api.example/v1", "upstream_model": "openai/gpt-oss-20b"},
        }
    },
    Config,
)


@pytest.fixture
def switched(database_dsn: str) -> str:
    """``code`` stood on Qwen3-8B, where it and acme's branch of it learnt, and stands on SmolLM2
    now; ``gone`` is not in the settings any more."""
    with psycopg.connect(database_dsn) as conn:
        for id, kind, base, card in (
            (OLD, "base", None, {"origin": "hf://Qwen/Qwen3-8B", "files": {}}),
            (NEW, "base", None, {}),
            (LEARNT, "adapter", OLD, {}),
            (OWN, "adapter", NEW, {"tenant": "acme"}),
        ):
            conn.execute(
                "insert into checkpoints (id, kind, folder, base, parent, card)"
                " values (%s, %s, '/nowhere', %s, %s, %s)",
                (id, kind, base, base, Jsonb(card)),
            )
        conn.execute(
            "insert into aliases (name, live, model, tenant) values ('code', %s, null, null),"
            " ('code:acme', %s, 'code', 'acme'), ('gone', %s, null, null)",
            (NEW, OWN, OLD),
        )
        for alias, candidate, withdrawn in (
            ("code", LEARNT, SINCE),
            ("code:acme", OWN, None),
        ):
            conn.execute(
                "insert into cycles (alias, state, incumbent, candidate, outcome, settings,"
                " verdict, withdrawn_at, started_at, ended_at)"
                " values (%s, 'ended', %s, %s, 'promoted', '{}', %s, %s, %s, %s)",
                (
                    alias,
                    OLD if candidate == LEARNT else NEW,
                    candidate,
                    Jsonb({"outcome": "PASS", "evidence": {"reward": {"mean": 0.25}}}),
                    withdrawn,
                    SINCE,
                    SINCE + timedelta(hours=1),
                ),
            )

    async def go() -> None:
        pool = await open_pool(database_dsn)
        given = [("code", name, count) for count, name in enumerate(CHECKPOINTS.values(), 1)]
        given += [("far", "openai/gpt-oss-20b@444444444444", 5), ("gone", OLD, 6)]
        async with Writer(pool, linger=0.0) as writer:
            for alias, checkpoint, count in given:
                for n in range(count):
                    answer = make_generation(
                        f"{alias} {checkpoint} {n}",
                        alias=alias,
                        checkpoint=checkpoint,
                        created_at=SINCE + timedelta(days=n),
                        user=f"user of {checkpoint}",
                    )
                    await writer.add_generation(answer)
                    clicked = "accepted" if checkpoint in (NEW, "gpt-x@import") else "rejected"
                    feedback = make_feedback(f"f {answer.id}", answer.id, signal=clicked)
                    await writer.add_feedback(feedback)
        await pool.close()

    asyncio.run(go())
    return database_dsn


def ask(dsn: str, question: Callable[[Connection], Awaitable[T]]) -> T:
    async def go() -> T:
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            return await question(conn)

    return asyncio.run(go())


def expose(dsn: str, home: Path, *without: str) -> Exposure:
    gone = [parse_without(one) for one in without]
    window = Window(SINCE, UNTIL, 1440)
    return ask(dsn, lambda conn: read_exposure(conn, CONFIG, home, window, gone))


def list_price(home: Path) -> Path:
    """A dollar for a token of ``far``; the folder of the home's catalogue."""
    price = ListedPrice(provider="far", model="openai/gpt-oss-20b", input=1e6, output=1e6)
    seller = Provider(name="Far", address="https://api.example", prices={price.model: price})
    folder = home / FOLDER
    folder.mkdir()
    (folder / FILE).write_bytes(encode_prices(PriceList(version="v", providers={"far": seller})))
    return folder


def test_answers_are_those_of_the_base_that_gave_them_and_imported_ones_nobodys(
    switched: str, tmp_path: Path
) -> None:
    report = expose(switched, tmp_path)
    makers = {one.value: (one.answers, one.aliases) for one in report.shares["maker"]}
    assert makers == {
        "Alibaba (Qwen)": (1 + 2 + 6, ("code", "gone")),
        "Hugging Face": (3, ("code",)),
        "OpenAI": (5, ("far",)),
    }
    assert report.users_month == 4  # of old, learnt, new and far: an import's were others'
    assert {alias for one in report.duties for alias in one.aliases} <= {"code", "far"}


def test_of_a_window_that_is_not_over_the_figures_are_those_of_now(
    switched: str, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    list_price(tmp_path)

    async def record() -> None:
        pool = await open_pool(switched)
        async with Writer(pool, linger=0.0) as writer:
            for days in (5, 25):
                await writer.add_generation(
                    make_generation(
                        f"late {days}",
                        alias="far",
                        checkpoint="openai/gpt-oss-20b@444444444444",
                        created_at=today - timedelta(days=days),
                        user=f"user of {days}",
                    )
                )
        await pool.close()

    asyncio.run(record())

    def told(since: datetime, until: datetime) -> Exposure:
        gone, window = [parse_without("maker=OpenAI")], Window(since, until, 1440)
        return ask(switched, lambda conn: read_exposure(conn, CONFIG, tmp_path, window, gone))

    def figures(one: Exposure) -> tuple[Any, ...]:
        return one.until, one.users_month, one.users_days, one.losses[0].substitutes[0].cost.before

    since = today - timedelta(days=9)
    before, after = figures(told(since, now)), figures(told(since, now + timedelta(days=20)))
    assert before[1] >= 2
    assert before[3] > 0
    assert after[0] <= datetime.now(UTC).date()
    assert after[1:3] == before[1:3]
    assert after[3] == pytest.approx(before[3], rel=0.01)
    with pytest.raises(WindowError, match="still to come"):
        told(now + timedelta(days=1), now + timedelta(days=2))


def test_what_a_tenants_branch_learnt_is_its_models(switched: str, tmp_path: Path) -> None:
    report = expose(switched, tmp_path)
    learnt = {one.value: (one.promoted, one.gain) for one in report.shares["maker"]}
    assert learnt["Hugging Face"] == (1, 0.25)
    assert learnt["Alibaba (Qwen)"] == (0, 0.0)
    (loss,) = expose(switched, tmp_path, "maker=Hugging Face").losses
    assert loss.relearning is not None
    assert (loss.relearning.cycles, loss.relearning.promoted) == (2, 1)


def test_a_model_is_compared_by_what_was_said_of_it_and_not_of_the_base_before(
    switched: str, tmp_path: Path
) -> None:
    (loss,) = expose(switched, tmp_path, "maker=OpenAI").losses
    (code,) = (one for one in loss.substitutes if one.name == "code")
    assert code.accepted is not None
    assert code.accepted.value == 1.0  # all of 3 on the new base, none of 5 on that of `far`


def test_what_a_model_costs_is_what_a_card_of_the_home_says(switched: str, tmp_path: Path) -> None:
    folder = list_price(tmp_path)

    def cost() -> float:
        (loss,) = expose(switched, tmp_path, "upstream=api.example").losses
        before = loss.substitutes[0].cost.before
        assert before is not None
        return before

    listed = cost()
    (folder / "own.toml").write_text(
        "[[models]]\nhub_id = 'openai/gpt-oss-20b'\n[[models.prices]]\nprovider = 'far'\n"
        "model = 'openai/gpt-oss-20b'\ninput = 500_000\noutput = 500_000\nsince = 2026-01-01\n"
    )
    assert cost() == pytest.approx(listed / 2)


def test_weeks_before_a_switch_stay_as_they_were(switched: str, tmp_path: Path) -> None:
    window = Window(SINCE, UNTIL, 1440)

    async def weeks(conn: Connection) -> tuple[Week, ...]:
        return await read_weeks(conn, CONFIG, tmp_path, window, "maker")

    told = {one.value: (one.answers, one.checkpoints) for one in ask(switched, weeks)}
    assert told == {"Alibaba (Qwen)": (9, 1), "Hugging Face": (3, 1), "OpenAI": (5, 0)}
