"""Every question against answers that were worked out by hand or by brute force."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from statistics import quantiles
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests.record.rows import make_feedback, make_generation
from tests.record.test_window import ask, record

from liveweights.insight import questions
from liveweights.insight.window import make_window
from liveweights.insight.worths import Worths
from liveweights.learn.rewards import RewardMap
from liveweights.record.engine_metrics import Sample, keep_sample
from liveweights.record.generation import Generation
from liveweights.record.response import StoredResponse
from liveweights.record.responses import ResponseStore
from liveweights.store.database import Connection, open_pool
from liveweights.store.partitions import ensure

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
MAP = Worths(RewardMap())


def answer(id: str, hours_ago: float, **changes: Any) -> Generation:
    return make_generation(id, created_at=NOW - timedelta(hours=hours_ago), **changes)


def window(since: str = "7d", **options: Any) -> Any:
    return make_window(since, now=NOW, **options)


def test_accept_rate_by_checkpoint_over_time(database_dsn: str) -> None:
    record(
        database_dsn,
        answer("a", 1.5, checkpoint="m@1"),
        answer("b", 1.6, checkpoint="m@1"),
        answer("c", 1.7, checkpoint="m@2", output=""),
        answer("d", 0.5, checkpoint="m@2"),
        answer("e", 200, checkpoint="m@2"),
        answer("f", 0.5, checkpoint="m@2", alias="other"),
        make_feedback("1", "a"),
        make_feedback("2", "b", signal="rejected"),
        make_feedback("3", "d", signal="thumbs", value=-1),
        make_feedback("4", "e"),
    )
    found = ask(
        database_dsn,
        lambda conn: questions.accept_rate(conn, window(step="1h", alias="live"), MAP),
    )
    assert [(r.at.hour, r.key, r.generations, r.accepted, r.rejected) for r in found] == [
        (10, "m@1", 2, 1, 1),
        (10, "m@2", 1, 0, 0),
        (11, "m@2", 1, 0, 0),
    ]
    assert [r.accept_rate for r in found] == [0.5, None, None]
    assert [r.reward for r in found] == [pytest.approx(0.25), 0.0, -1.0]


def test_imported_answers_count_for_their_own_checkpoints_alone(database_dsn: str) -> None:
    record(
        database_dsn,
        answer("ours", 1.5, alias="code", checkpoint="m@1", user="ada"),
        make_feedback("1", "ours", signal="rejected"),
        *(answer(f"old{n}", 1.5, alias="code", checkpoint="x@import", user="b") for n in range(9)),
        *(make_feedback(f"f{n}", f"old{n}", signal="rejected") for n in range(9)),
    )
    asked = window("1d", step="1d")

    async def count(conn: Connection) -> dict[str, dict[str, int]]:
        rates = [
            *await questions.accept_rate(conn, asked, MAP, by="alias"),
            *await questions.accept_rate(conn, asked, MAP, by="checkpoint"),
        ]
        usage = await questions.usage(conn, asked, by="tenant")
        silence = await questions.silence(conn, asked)
        return {
            "rates": {one.key: one.rejected for one in rates},
            "usage": {"all": sum(one.generations for one in usage)},
            "silence": {"all": sum(one.generations for one in silence)},
            "standing": {
                one.alias: one.generations for one in await questions.standing(conn, asked)
            },
            "waits": {one.key: one.generations for one in await questions.first_token(conn, asked)},
            "unhappy": {one.user: one.reacted for one in await questions.unhappy(conn, asked, MAP)},
        }

    assert ask(database_dsn, count) == {
        "rates": {"code": 1, "m@1": 1, "x@import": 9},
        "usage": {"all": 1},
        "silence": {"all": 1},
        "standing": {"code": 1},
        "waits": {"m@1": 1, "x@import": 9},
        "unhappy": {"ada": 1},
    }


def test_one_bad_answer_is_no_unhappy_user(database_dsn: str) -> None:
    rows: list[Any] = []
    for user, welcome, unwelcome in (("ada", 1, 9), ("bob", 0, 1), ("eve", 20, 0)):
        for n in range(welcome + unwelcome):
            rows.append(answer(f"{user}{n}", 1, user=user))
            signal = "accepted" if n < welcome else "rejected"
            rows.append(make_feedback(f"f{user}{n}", f"{user}{n}", signal=signal))
    record(database_dsn, *rows)
    found = ask(database_dsn, lambda conn: questions.unhappy(conn, window(), MAP))
    assert [(r.user, r.reacted, r.unwelcome) for r in found] == [("ada", 10, 9), ("bob", 1, 1)]
    # Wilson's lower end for 9 of 10 and 1 of 1, as tables give them.
    assert [r.at_least for r in found] == [
        pytest.approx(0.596, abs=1e-3),
        pytest.approx(0.207, abs=1e-3),
    ]
    assert found[0].reward == pytest.approx((0.75 - 9 * 0.25) / 10)


def test_reactions_are_worth_to_each_model_what_it_learns(database_dsn: str) -> None:
    rows: list[Any] = []
    for alias in ("strict", "kind", "hosted"):
        for n, signal in enumerate(("accepted", "rejected", "")):
            name = f"{alias}{n}"
            rows.append(answer(name, 1.5, alias=alias, user=alias, output="x" if signal else ""))
            if signal:
                rows.append(make_feedback(f"f{name}", name, signal=signal))
    record(database_dsn, *rows)
    worths = Worths(
        RewardMap(accepted=0.3, rejected=-0.3, silence=0.0),
        {
            "strict": RewardMap(accepted=-0.1, rejected=-1.0, silence=0.5),
            "kind": RewardMap(accepted=1.0, rejected=0.2, silence=0.0),
            "none": RewardMap(),
        },
    )
    found = ask(
        database_dsn,
        lambda conn: questions.accept_rate(conn, window("1d", step="1d"), worths, by="alias"),
    )
    assert {r.key: r.reward for r in found} == {
        "strict": pytest.approx((-0.1 - 1.0 + 0.5) / 3),
        "kind": pytest.approx((1.0 + 0.2) / 3),
        "hosted": pytest.approx(0.0),
    }
    unhappy = ask(database_dsn, lambda conn: questions.unhappy(conn, window(), worths))
    assert {(r.user, r.unwelcome) for r in unhappy} == {("strict", 2), ("hosted", 1)}


def test_silence_against_the_window_before(database_dsn: str) -> None:
    record(
        database_dsn,
        *(answer(f"e{n}", 30, surface="editor", output="" if n < 1 else "x") for n in range(4)),
        *(answer(f"f{n}", 3, surface="editor", output="" if n < 2 else "x") for n in range(4)),
        answer("t", 3, surface="terminal"),
        answer("cancelled", 3, surface="editor", output="", finish_reason="cancelled"),
    )
    found = ask(database_dsn, lambda conn: questions.silence(conn, window("1d")))
    assert [(r.key, r.generations_before, r.generations, r.before, r.now) for r in found] == [
        ("editor", 4, 5, 0.25, 0.4),
        ("terminal", 0, 1, None, 0.0),
    ]


def test_tools_that_fail_and_episodes_that_loop(database_dsn: str) -> None:
    def call(name: str, arguments: str = "{}", status: str = "completed") -> dict[str, str]:
        made = {"name": name, "arguments": arguments, "status": status, "server_label": "docs"}
        return {"type": "mcp_call", **made}

    def kept(
        id: str,
        *output: dict[str, str],
        checkpoint: str = "m@1",
        tenant: str = "t",
        episode: str = "",
    ) -> StoredResponse:
        of = {"model": "m", "checkpoint": checkpoint, "episode": episode or f"e{id}"}
        body = {**of, "output": [*output]}
        return StoredResponse(
            id=id,
            tenant=tenant,
            user=None,
            previous=None,
            created_at=NOW - timedelta(hours=1),
            input=[],
            body=body,
        )

    async def keep() -> None:
        pool = await open_pool(database_dsn)
        try:
            store = ResponseStore(pool)
            await store.add(kept("a", *(call("search") for _ in range(3))))
            await store.add(kept("b", call("search"), call("open", status="failed")))
            await store.add(kept("c", {"type": "message"}))
            await store.add(kept("d", {"type": "function_call", "name": "f"}, checkpoint="m@2"))
            # Three calls of two tenants, who name their episodes alike, are no loop.
            for n, tenant in enumerate(("one", "two", "two")):
                of = {"checkpoint": "m@3", "tenant": tenant, "episode": "task-1"}
                await store.add(kept(f"e{n}", call("search"), **of))
        finally:
            await pool.close()

    asyncio.run(keep())
    found = ask(database_dsn, lambda conn: questions.tools(conn, window()))
    assert [(r.key, r.episodes, r.calls, r.served, r.failed, r.looping) for r in found] == [
        ("m@1", 2, 5, 5, 0.2, 0.5),
        ("m@3", 2, 3, 3, 0.0, 0.0),
        ("m@2", 1, 1, 0, None, 0.0),
    ]
    assert [(r.answers, r.refused, r.refused_low) for r in found] == [(0, None, None)] * 3


def test_answers_that_decline_with_their_interval(database_dsn: str) -> None:
    said = {"checkpoint": "m@1", "endpoint": "chat"}
    record(
        database_dsn,
        *(answer(f"r{n}", 1, output="I'm sorry, I can't do that.", **said) for n in range(2)),
        *(answer(f"a{n}", 1, output="Sorry for the delay: it is 4.", **said) for n in range(18)),
        answer("silent", 1, output="", **said),
        answer("away", 1, output="I cannot", finish_reason="cancelled", **said),
        answer("old", 400, output="I cannot.", **said),
        answer("code", 1, output="I cannot.", checkpoint="m@1"),
        answer("other", 1, output="Yes.", checkpoint="m@2", endpoint="chat", alias="b"),
    )
    found = ask(database_dsn, lambda conn: questions.tools(conn, window()))
    assert [(r.key, r.answers, r.refused) for r in found] == [("m@1", 20, 0.1), ("m@2", 1, 0.0)]
    # Wilson's interval for 2 of 20, as tables give it.
    first = found[0]
    assert first.refused_low == pytest.approx(0.028, abs=1e-3)
    assert first.refused_high == pytest.approx(0.301, abs=1e-3)
    assert (first.calls, first.looping) == (0, None)
    only = ask(database_dsn, lambda conn: questions.tools(conn, window(alias="b"), by="alias"))
    assert [(r.key, r.answers) for r in only] == [("b", 1)]


def test_usage_per_tenant(database_dsn: str) -> None:
    record(
        database_dsn,
        answer("a", 1, tenant="small"),
        *(answer(f"b{n}", n + 1, tenant="big", prompt_ids=[1] * 100) for n in range(3)),
    )
    found = ask(database_dsn, lambda conn: questions.usage(conn, window()))
    assert [(r.key, r.generations, r.prompt_tokens, r.output_tokens) for r in found] == [
        ("big", 3, 300, 6),
        ("small", 1, 3, 2),
    ]


def test_percentiles_are_within_a_bin_of_the_truth(database_dsn: str) -> None:
    rng = random.Random(3)
    waits = [rng.lognormvariate(4, 1) for _ in range(500)]
    record(database_dsn, *(answer(f"g{n}", 1, first_token_ms=ms) for n, ms in enumerate(waits)))
    (found,) = ask(database_dsn, lambda conn: questions.first_token(conn, window(step="1d")))
    cuts = quantiles(waits, n=100, method="inclusive")
    assert found.generations == 500
    for value, truth in ((found.p50_ms, cuts[49]), (found.p95_ms, cuts[94])):
        assert truth / 1.2 < value < truth * 1.2
    assert found.p50_ms < found.p95_ms < found.p99_ms


def test_a_few_slow_ones_among_millions(database_dsn: str) -> None:
    record(database_dsn, answer("g", 1, first_token_ms=20))
    with psycopg.connect(database_dsn) as conn:
        conn.execute("update rollup_histograms set count = 5000000 where measure = 'first_token'")
        conn.execute(
            "insert into rollup_histograms select whole, width, bucket, series, measure, 90, 1"
            " from rollup_histograms where measure = 'first_token'"
        )
    (found,) = ask(database_dsn, lambda conn: questions.first_token(conn, window(step="1d")))
    assert 20 / 1.2 < found.p50_ms <= found.p99_ms < 20 * 1.2


def test_feedback_delay(database_dsn: str) -> None:
    rows: list[Any] = []
    for n in range(20):
        g = answer(f"g{n}", 50, total_ms=9_000.0)
        seconds = 2 if n < 15 else 86_400
        at = g.created_at + timedelta(seconds=9 + seconds)  # from when it was complete
        rows += [g, make_feedback(f"f{n}", g.id, received_at=at)]
    record(database_dsn, *rows)
    (found,) = ask(database_dsn, lambda conn: questions.feedback_delay(conn, window()))
    assert found.feedback == 20
    assert 2 / 1.2 < found.p50_s < 2 * 1.2
    assert 86_400 / 1.2 < found.p95_s < 86_400 * 1.2


def test_how_busy_each_instance_was(database_dsn: str) -> None:
    def sample(hours_ago: float, running: int, waiting: int, instance: str = "a:1") -> Sample:
        return Sample(
            at=NOW - timedelta(hours=hours_ago),
            instance=instance,
            slots=4,
            running=running,
            waiting=waiting,
            in_use={"m@1": running} if running < 4 else {"m@1": 3, "m@2": 1},
        )

    async def keep(conn: Connection) -> None:
        await ensure(conn, [NOW.date()])
        for one in (sample(1.5, 1, 0), sample(1.4, 4, 7), sample(0.5, 2, 0, "b:1")):
            await keep_sample(conn, one)

    ask(database_dsn, keep)
    found = ask(database_dsn, lambda conn: questions.load(conn, window("1d", step="1h")))
    assert [(r.at.hour, r.key, r.samples, r.busy, r.most_waiting, r.queued) for r in found] == [
        (10, "a:1", 2, 0.625, 7, 0.5),
        (11, "b:1", 1, 0.5, 0, 0.0),
    ]
    assert [r.most_resident for r in found] == [2, 1]
    assert ask(database_dsn, lambda conn: questions.load(conn, window("1d", tenant="t"))) == []


def test_swaps_in_order_with_how_long_each_lasted(database_dsn: str) -> None:
    with psycopg.connect(database_dsn) as conn:
        for id in ("m@1", "m@2"):
            conn.execute(
                "insert into checkpoints (id, kind, folder, card) values (%s, 'base', '/', '{}')",
                (id,),
            )
        conn.execute("insert into aliases (name, live) values ('live', 'm@1')")
        for hours, action, checkpoint in ((9, "create", "m@1"), (2, "promote", "m@2")):
            conn.execute(
                "insert into releases (alias, action, checkpoint, reason, at)"
                " values ('live', %s, %s, 'why', %s)",
                (action, checkpoint, NOW - timedelta(hours=hours)),
            )
    found = ask(database_dsn, lambda conn: questions.swaps(conn, window("1d")))
    assert [(r.action, r.checkpoint, r.lasted_s) for r in found] == [
        ("create", "m@1", 7 * 3600.0),
        ("promote", "m@2", None),
    ]
    assert ask(database_dsn, lambda conn: questions.swaps(conn, window("1h"))) == []


def test_a_tenant_sees_its_own_only(database_dsn: str) -> None:
    record(database_dsn, answer("a", 1, tenant="one"), answer("b", 1, tenant="two"))
    found = ask(database_dsn, lambda conn: questions.usage(conn, window(tenant="one")))
    assert [r.key for r in found] == ["one"]


def test_how_each_model_stands(database_dsn: str) -> None:
    record(
        database_dsn,
        *(answer(f"a{n}", 1, first_token_ms=10.0 * (n + 1)) for n in range(8)),
        answer("old", 24 * 9),
        answer("b", 1, alias="other", first_token_ms=50.0),
        *(make_feedback(f"f{n}", f"a{n}") for n in range(3)),
        make_feedback("f3", "a3", signal="rejected"),
    )
    found = {one.alias: one for one in ask(database_dsn, lambda c: questions.standing(c, window()))}
    one = found["live"]
    assert (one.generations, one.clicked, one.accept_rate) == (8, 4, 0.75)
    # Wilson's interval of 3 in 4.
    assert (one.low, one.high) == (pytest.approx(0.3006, abs=1e-3), pytest.approx(0.9544, abs=1e-3))
    assert one.p50_ms == pytest.approx(40, rel=0.2)
    assert one.p95_ms == pytest.approx(80, rel=0.2)
    assert (one.cycle, one.verdict, one.reasons, one.scores) == (None, None, [], {})
    assert (found["other"].clicked, found["other"].accept_rate, found["other"].low) == (
        0,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("live", "scores"), [("m@1", {"tests": 0.75}), ("m@2", {}), ("m@3", {}), ("base@0", {})]
)
def test_a_models_scores_are_of_what_is_live(
    database_dsn: str, live: str, scores: dict[str, float]
) -> None:
    """The first cycle asked suites, the second asked none, the third checkpoint came by hand."""
    suites = [{"suite": "tests", "difference": {"candidate": 0.75}}]
    with psycopg.connect(database_dsn) as conn:
        for id in ("base@0", "m@1", "m@2", "m@3"):
            conn.execute(
                "insert into checkpoints (id, kind, folder, card) values (%s, 'base', '/', '{}')",
                (id,),
            )
        conn.execute("insert into aliases (name, live) values ('live', %s)", (live,))
        for candidate, asked in (("m@1", suites), ("m@2", [])):
            verdict = {"outcome": "PASS", "reasons": [], "evidence": {"suites": asked}}
            conn.execute(
                "insert into cycles (alias, state, incumbent, candidate, settings, outcome,"
                " ended_at, verdict)"
                " values ('live', 'ended', 'base@0', %s, '{}', 'promoted', now(), %s)",
                (candidate, Jsonb(verdict)),
            )
    (one,) = ask(database_dsn, lambda conn: questions.standing(conn, window()))
    assert one.scores == scores
