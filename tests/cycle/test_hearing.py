"""Users who only ask on: what they say next is heard once, and is enough for a canary."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.record.rows import make_feedback
from tests.serve.api.doubles import make_tokenizer
from tests.serve.api.test_family_templates import FOLDER as TEMPLATES

from liveweights.config import Config
from liveweights.cycle import hearing, trying
from liveweights.cycle.hearing import hear
from liveweights.cycle.ledger import advance, begin, left_by, write_recomputed
from liveweights.learn.rewards import RewardMap
from liveweights.record import window
from liveweights.record.batch import prepare, store
from liveweights.record.binary import encode
from liveweights.record.feedback import Feedback
from liveweights.record.followups import read_follow_ups
from liveweights.record.generation import Generation
from liveweights.release import aliases
from liveweights.release.settings import CanarySettings
from liveweights.serve.router import Router
from liveweights.store.database import open_pool
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import register

from .product import BAD, BASE, GOOD, Habit, Product

START = datetime.now(UTC) + timedelta(hours=1)
CANARY = CanarySettings(steps=(0.5,), step_rewards=5, step_seconds=0.0, few_sessions=0)
NO, THANKS, ON = "No, that is wrong.", "Thanks, that works!", "And the capital of Peru?"


def with_chats(
    dsn: str, home: Path, test: Callable[[Product], Awaitable[None]], **canary: object
) -> None:
    async def go() -> None:
        make_tokenizer().save_pretrained(home / "base")
        pool = await open_pool(dsn)
        try:
            settings = msgspec.structs.replace(CANARY, **canary)
            habits = {BASE: Habit(), GOOD: Habit(accepted=0.9), BAD: Habit(accepted=0.0)}
            product = Product(pool, Config(canary=settings), home, habits)
            await product.fill()
            await test(product)
        finally:
            await pool.close()

    asyncio.run(go())


def ask(id: str, said: list[str], at: datetime, **changes: Any) -> Generation:
    """The answer after a user said all that, and was answered "Lima." each time before."""
    roles = itertools.cycle(("user", "assistant"))
    texts = [text for one in said for text in (one, "Lima.")][:-1]
    turns = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    values: dict[str, Any] = {
        "prompt_ids": make_tokenizer().apply_chat_template(
            turns, add_generation_prompt=True, return_dict=False
        ),
        "id": id,
        "created_at": at,
        "alias": "code",
        "checkpoint": BASE,
        "endpoint": "chat",
        "output_ids": [2],
        "logprobs": [-1.0],
        "raw_logprobs": [-1.0],
        "output": "Lima.",
        "finish_reason": "stop",
        "temperature": 1.0,
        "top_p": 1.0,
        "session": "s",
        "user": "ada",
        "total_ms": 300.0,
    }
    return Generation(**{**values, **changes})


async def record(product: Product, *rows: Generation | Feedback) -> None:
    async with product.pool.connection() as conn:
        await prepare(conn)
        answers = [encode(row) for row in rows if isinstance(row, Generation)]
        await store(conn, answers, [row for row in rows if isinstance(row, Feedback)])


async def read_moods(product: Product) -> dict[str, tuple[str, datetime]]:
    async with product.pool.connection() as conn:
        cursor = await conn.execute("select generation, mood, at from follow_ups")
        return {id: (mood, at) for id, mood, at in await cursor.fetchall()}


def second(number: float) -> datetime:
    return START + timedelta(seconds=number)


def test_what_was_said_next_is_heard_once_and_by_the_classifier_that_is_set(
    database_dsn: str, tmp_path: Path
) -> None:
    async def test(product: Product) -> None:
        settings = product.config.for_worker()
        other = {"session": "other"}
        await record(
            product,
            ask("wrong", ["Capital?"], second(1)),
            ask("right", ["Capital?", NO], second(2)),
            ask("left", ["Capital?", NO, THANKS], second(3)),
            ask("asked on", ["Hi."], second(1), **other),
            ask("strayed", ["Hi.", ON], second(2), **other),
            ask("new title", ["Name this chat."], second(3), **other),
            ask("thumbed", ["Hello."], second(1), session="thumbs"),
            ask("after", ["Hello.", NO], second(2), session="thumbs"),
            make_feedback("f", "thumbed", signal="thumbs", value=1.0),
            ask("private", ["Hi."], second(1), session="p", consent=False),
            ask("more of it", ["Hi.", NO], second(2), session="p", consent=False),
        )
        await hear(product.pool, settings, late=False)
        heard = {
            "wrong": ("dissatisfied", second(2)),
            "right": ("satisfied", second(3)),
            "asked on": ("neutral", second(2)),
            "strayed": ("neutral", second(3)),
        }
        assert await read_moods(product) == heard
        await record(product, ask("last", ["Capital?", NO, THANKS, NO], second(4)))
        await hear(product.pool, settings, late=False)
        heard["left"] = ("dissatisfied", second(4))
        assert await read_moods(product) == heard
        kind = replace(settings, rewards=RewardMap(classifier=f"{__name__}:please"))
        await hear(product.pool, kind, late=False)
        moods = {id: mood for id, (mood, _) in (await read_moods(product)).items()}
        assert moods.pop("strayed") == "neutral"  # nothing was said of it
        assert set(moods.values()) == {"satisfied"}

    with_chats(database_dsn, tmp_path, test)


def please(text: str) -> str:
    return "satisfied"


def test_chats_with_a_base_that_is_gone_stay_unheard(
    database_dsn: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    former = "former@000000000000"

    async def test(product: Product) -> None:
        async with product.pool.connection() as conn:
            await register(conn, Checkpoint(former, "base", tmp_path / "former"), {})
        then: dict[str, Any] = {"checkpoint": former, "session": "then"}
        await record(
            product,
            ask("before", ["Hi."], second(1), **then),
            ask("left", ["Hi.", NO], second(2), **then),
            ask("now", ["Hi."], second(3)),
            ask("last", ["Hi.", THANKS], second(4)),
        )
        settings = product.config.for_worker()
        for _ in range(2):
            await hear(product.pool, settings, late=True)
        assert await read_moods(product) == {"now": ("satisfied", second(4))}
        assert caplog.text.count(f"{tmp_path / 'former'} stays unheard") == 1
        make_tokenizer().save_pretrained(tmp_path / "former")
        await hear(product.pool, settings, late=True)
        assert (await read_moods(product))["before"] == ("dissatisfied", second(2))

    with_chats(database_dsn, tmp_path, test)


def test_a_canary_goes_on_where_nothing_can_be_heard(
    database_dsn: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(product: Product) -> None:
        await product.try_out(GOOD)
        await record(
            product,
            ask("first", ["Hi."], second(1)),
            ask("next", ["Hi.", NO], second(2)),
        )
        worker = product.worker()
        worker.settings = worker.steps.shop.settings = replace(
            worker.settings, rewards=RewardMap(classifier="nobody:knows")
        )
        for _ in range(2):
            worker.steps.trying.next_look = 0.0
            cycle = await worker.turn()
            assert cycle is not None
            assert (cycle.state, cycle.outcome) == ("canary", None)
        assert caplog.text.count("without what users say next") == 1

    with_chats(database_dsn, tmp_path, test)


def test_what_was_heard_is_not_looked_for_again_but_for_what_came_late(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "BATCH", 2)
    asked = START - timedelta(hours=3)

    async def test(product: Product) -> None:
        said = [ON, NO, ON, NO, ON, NO, ON]
        rows = [ask(f"g{n}", said[: n + 1], asked + timedelta(seconds=n)) for n in range(7)]
        await record(product, *rows)
        settings = product.config.for_worker()
        await hear(product.pool, settings, late=False)
        assert set(await read_moods(product)) == {f"g{n}" for n in range(6)}
        await record(product, ask("late", [*said, NO], asked + timedelta(seconds=9)))
        await hear(product.pool, settings, late=False)
        assert "g6" not in await read_moods(product)
        await hear(product.pool, settings, late=True)
        assert "g6" in await read_moods(product)

    with_chats(database_dsn, tmp_path, test)


def test_a_look_does_not_wait_until_all_is_heard(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "BATCH", 2)
    monkeypatch.setattr(trying, "HEARING", 0.0)
    asked = START - timedelta(hours=1, minutes=1)

    async def test(product: Product) -> None:
        await product.try_out(GOOD)
        said = [ON, NO, ON, NO, ON, NO]
        rows = [ask(f"g{n}", said[: n + 1], asked + timedelta(seconds=n)) for n in range(6)]
        await record(product, *rows)
        worker = product.worker()
        for count in (1, 3, 5, 5):
            worker.steps.trying.next_look = 0.0
            cycle = await worker.turn()
            assert cycle is not None
            assert cycle.state == "canary"
            assert len(await read_moods(product)) == count

    with_chats(database_dsn, tmp_path, test)


def test_what_was_long_in_being_answered_is_heard(database_dsn: str, tmp_path: Path) -> None:
    now = datetime.now(UTC)

    async def test(product: Product) -> None:
        settings = product.config.for_worker()
        await hear(product.pool, settings, late=True)
        async with product.pool.connection() as conn:
            await conn.execute(
                "update hearings set until = %(at)s, whole = %(at)s", {"at": days(3)}
            )
        await hear(product.pool, settings, late=False)  # a look at a canary of today
        slow = now - timedelta(minutes=5)
        await record(
            product,
            ask("hasty", ["Hi."], slow),
            ask("slow", ["Hi.", NO], slow + timedelta(seconds=1)),
            ask("lost", ["Hi."], days(2), session="spilled"),
            ask("found", ["Hi.", NO], days(2) + timedelta(seconds=1), session="spilled"),
        )
        await hear(product.pool, settings, late=False)
        assert set(await read_moods(product)) == {"hasty"}
        await hear(product.pool, settings, late=True)  # the next cycle's
        assert set(await read_moods(product)) == {"hasty", "lost"}

    def days(number: int) -> datetime:
        return now - timedelta(days=number)

    with_chats(database_dsn, tmp_path, test)


def test_a_cycle_hears_first_and_says_what_it_left(database_dsn: str, tmp_path: Path) -> None:
    async def test(product: Product) -> None:
        said = ["Hi.", NO, ON, THANKS, ON, NO]
        rows = [ask(f"g{n}", said[: n + 1], second(n)) for n in range(len(said))]
        await record(product, *rows)
        worker = product.worker()
        worker.settings = worker.steps.shop.settings = replace(
            worker.settings,
            learn=msgspec.structs.replace(worker.settings.learn, max_rows=2, held_back_share=0.001),
        )
        async with product.pool.connection() as conn:
            cycle = await begin(conn, "code", {})
        cycle = await worker.steps.learning.claim_feedback(cycle)
        assert (cycle.state, left_by(cycle)) == ("learning", 1)
        async with product.pool.connection() as conn:
            read = await window.read(conn, cycle.id, "train")
        assert [example.generation.id for example in read] == ["g2", "g4"]

    with_chats(database_dsn, tmp_path, test)


def test_what_was_said_after_an_opened_thought_is_heard(database_dsn: str, tmp_path: Path) -> None:
    tokenizer = make_tokenizer(template=(TEMPLATES / "minimax_m2.jinja").read_text())
    said = ["Capital?", "Lima.", NO]
    turns = [
        {"role": role, "content": text}
        for role, text in zip(("user", "assistant", "user"), said, strict=True)
    ]

    async def test(product: Product) -> None:
        tokenizer.save_pretrained(tmp_path / "base")
        first, second = [
            tokenizer.apply_chat_template(
                turns[:count], add_generation_prompt=True, return_dict=False
            )
            for count in (1, 3)
        ]
        await record(
            product,
            ask("wrong", ["Hi."], START, prompt_ids=first),
            ask("left", ["Hi."], START + timedelta(seconds=1), prompt_ids=second),
            ask("other", ["Hi."], START, session="other", prompt_ids=[1, *first]),
            ask(
                "not it", ["Hi."], START + timedelta(seconds=1), session="other", prompt_ids=second
            ),
        )
        await hear(product.pool, product.config.for_worker(), late=False)
        moods = {id: mood for id, (mood, _) in (await read_moods(product)).items()}
        assert moods == {"wrong": "dissatisfied", "other": "neutral"}

    with_chats(database_dsn, tmp_path, test)


def test_what_a_cycle_reads_is_what_had_been_said_when_it_claimed(
    database_dsn: str, tmp_path: Path
) -> None:
    async def test(product: Product) -> None:
        later = datetime.now(UTC) + timedelta(hours=1)
        thumbed = {"session": "thumbs"}
        await record(
            product,
            ask("heard", ["Hi."], second(1)),
            ask("next", ["Hi.", NO], second(2)),  # by a clock that is ahead
            ask("thumbed", ["Hi."], later - timedelta(hours=2), **thumbed),
            make_feedback("f", "thumbed", signal="thumbs", value=1.0),
        )
        worker = product.worker()
        async with product.pool.connection() as conn:
            cycle = await begin(conn, "code", {})
        cycle = await worker.steps.learning.claim_feedback(cycle)
        await record(product, ask("too late", ["Hi.", ON], later, **thumbed))
        async with product.pool.connection() as conn:
            assert {*await read_follow_ups(conn, cycle.id)} == {"heard"}
            cycle = await advance(conn, cycle, "ended", outcome="promoted")
            anew = await write_recomputed(conn, cycle.id, BASE, GOOD, {})
            await window.copy_claim(conn, cycle.id, anew)
            assert {*await read_follow_ups(conn, anew)} == {"heard"}

    with_chats(database_dsn, tmp_path, test)


@pytest.mark.parametrize(
    ("candidate", "outcome", "why"),
    [(GOOD, "promoted", "not worse"), (BAD, "rolled_back", "worse than live")],
)
def test_a_canary_is_decided_by_what_users_said_next(
    database_dsn: str, tmp_path: Path, candidate: str, outcome: str, why: str
) -> None:
    draw = random.Random(0)

    async def use(product: Product, number: int) -> None:
        """Two answers each: of the first one the second request says what the user thought."""
        async with product.pool.connection() as conn:
            alias = await aliases.read(conn, "code")
        router = Router()
        router.set(alias.name, alias.live, alias.canary, alias.share)
        rows: list[Generation] = []
        for session in (f"{number}-{one}" for one in range(20)):
            with router.pin("code", session) as pin:
                who: dict[str, Any] = {"session": session, "checkpoint": pin.checkpoint}
            pleased = draw.random() < product.habits[pin.checkpoint].accepted
            next = ON if draw.random() < 0.5 else THANKS if pleased else NO
            rows.append(ask(f"{session}-a", ["Hi."], datetime.now(UTC), **who))
            rows.append(ask(f"{session}-b", ["Hi.", next], datetime.now(UTC), **who))
        await record(product, *rows)

    async def test(product: Product) -> None:
        await product.try_out(candidate)
        worker = product.worker()
        for number in range(60):
            await use(product, number)
            worker.steps.trying.next_look = 0.0
            cycle = await worker.turn()
            assert cycle is not None
            if cycle.state == "ended":
                break
        assert (cycle.outcome, cycle.candidate) == (outcome, candidate)
        assert why in cycle.reason
        moods = [mood for mood, _ in (await read_moods(product)).values()]
        numbers = cycle.canary["numbers"]
        counted = numbers["canary_rewards"] + numbers["live_rewards"]
        assert counted == sum(mood != "neutral" for mood in moods) < len(moods)

    with_chats(database_dsn, tmp_path, test, unit="reward", lowest=-0.5, highest=0.25)
