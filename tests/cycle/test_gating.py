"""The gate's step against a scripted service: evidence, suites, verdict, and what is stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from aiohttp import web
from tests.record.rows import make_feedback, make_generation

from liveweights.config import Config
from liveweights.cycle import ledger
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.trial import Need, Trial, note_trial
from liveweights.cycle.worker import Worker
from liveweights.gate.questions import NotReady
from liveweights.gate.settings import GateSettings
from liveweights.gate.suites.search import open_search
from liveweights.learn.job import HeldBack, Report, Result
from liveweights.learn.settings import LearnSettings
from liveweights.record.window import claim
from liveweights.record.writer import Writer
from liveweights.store.database import open_pool
from liveweights.terms.criteria import Candidate
from liveweights.terms.current import Terms
from liveweights.terms.facts import unknown_facts
from liveweights.terms.rows import read_denials
from liveweights.terms.rules import Rule

OLD, NEW = "m@000000000001", "m@000000000002"
NEWER = "m@000000000003"
ROWS = 60
SHARE = 0.9999
CARD = """
scorer = "exact"
[card]
name = "mine"
version = "1"
title = "t"
licence = "MIT"
"""
Answer = Callable[[str, Any], str]


@dataclass
class Gating:
    """What came of one gate: the cycle, and what the service was asked."""

    cycle: Cycle
    asked: list[dict[str, Any]]
    home: Path


def gate(
    dsn: str,
    home: Path,
    answer: Answer,
    settings: GateSettings,
    candidate: str = NEW,
    *,
    terms: Terms | None = None,
    trial: Trial | None = None,
    chats: Answer | None = None,
    talk: bool = False,
    away: int = 0,
) -> Gating:
    """One gate over ``ROWS`` held-back rows whose users wrote "right" and the row's number, and
    over those of the gates before it; of a candidate that was brought, with a ``trial``. With
    ``chats`` the rows are episodes of chats, of which only the outcome was told, and that is what
    the service says to a question; with ``talk`` they are chats that users corrected, whose
    words the candidate holds for likelier. It is away after it answered ``away`` times, once."""
    asked: list[dict[str, Any]] = []

    async def serve(request: web.Request) -> web.Response:
        body = await request.json()
        assert request.headers["authorization"] == "Bearer the service's own"
        asked.append(body)
        if len(asked) == away:
            return web.json_response({"error": {"message": "it restarts"}}, status=503)
        text = answer(body["model"], body["prompt"])
        told = {"token_logprobs": [-0.5]} if "logprobs" in body else None
        return web.json_response({"choices": [{"text": text, "logprobs": told}]})

    async def chat(request: web.Request) -> web.Response:
        body = await request.json()
        assert chats is not None
        message = {"content": chats(body["model"], body["messages"][-1]["content"])}
        return web.json_response({"choices": [{"message": message}]})

    async def run() -> Cycle:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", chat)
        app.router.add_post("/v1/completions", serve)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pool = await open_pool(dsn)
        try:
            cycle = await _until_gating(
                dsn, home, candidate, trial, chats=chats is not None, talk=talk
            )
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            config = Config(gate=settings, learn=LearnSettings(held_back_share=SHARE))
            settled = config.for_worker()
            key = "the service's own"
            worker = Worker(pool, settled, home, url, key, terms=terms or Terms())
            if away:
                with pytest.raises(NotReady, match="it restarts"):
                    await worker.turn()
            await worker.turn()
            async with pool.connection() as conn:
                (found,) = [c for c in await ledger.recent(conn, "code") if c.id == cycle.id]
            return found
        finally:
            await pool.close()
            await runner.cleanup()

    return Gating(asyncio.run(run()), asked, home)


async def _until_gating(
    dsn: str, home: Path, candidate: str, trial: Trial | None, *, chats: bool, talk: bool
) -> Cycle:
    pool = await open_pool(dsn)
    async with pool.connection() as conn:
        first = len(await ledger.recent(conn, "code")) * ROWS
    async with Writer(pool, linger=0.0) as writer:
        for i in range(first, first + ROWS):
            name = f"gen{i}"
            await writer.add_generation(
                make_generation(
                    name,
                    alias="code",
                    checkpoint=OLD,
                    prompt_ids=[i],
                    session=f"s{i // 4}",
                    endpoint="chat" if chats or talk else "completion",
                )
            )
            said: dict[str, Any] = {"signal": "correction", "text": f"right {i}"}
            if chats:
                said = {"signal": "reward", "value": 1.0, "episode": f"e{i // 2}"}
            await writer.add_feedback(make_feedback(f"f{i}", name, **said))
    await pool.close()
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        for checkpoint, kind, base in ((OLD, "base", None), (candidate, "adapter", OLD)):
            await conn.execute(
                "insert into checkpoints (id, kind, folder, base, card)"
                " values (%s, %s, '/', %s, '{}') on conflict do nothing",
                (checkpoint, kind, base),
            )
        await conn.execute(
            "insert into aliases (name, live) values ('code', %s) on conflict do nothing", (OLD,)
        )
        await conn.execute(
            "insert into deployments (instance, checkpoint, state, updated_at) values"
            " ('one', %s, 'ready', now() + interval '1 hour')",
            (candidate,),
        )
        cycle = await ledger.begin(conn, "code", {})
        await claim(
            conn, cycle.id, "code", held_back_share=SHARE, max_rows=1000, max_held_back=1000
        )
        for state in ("learning", "calibrating", "warming", "gating"):
            learning = note_trial(trial) if trial else None
            cycle = await ledger.advance(conn, cycle, state, candidate=candidate, learning=learning)
    folder = home / "cycles" / str(cycle.id)
    folder.mkdir(parents=True)
    (folder / "result.json").write_bytes(msgspec.json.encode(_result(first, talk)))
    return cycle


def _result(first: int, worded: bool) -> Result:
    rows = [
        HeldBack(
            generation=f"gen{i}",
            session=f"s{i // 4}",
            reward=-0.25,
            candidate_answer=[-0.5, -0.5],
            incumbent_answer=[-0.5, -0.4],
            behaviour=[-0.5, -0.4],
            candidate_truth=-1.0 - i % 3 / 10 if worded else None,
            incumbent_truth=-1.5 if worded else None,
        )
        for i in range(first, first + ROWS)
    ]
    return Result(report=Report(signals={}), held_back=rows, baseline_weight={}, baseline_total={})


def answers(model: str, prompt: Any, good: bool) -> str:
    """The candidate writes what users wanted; in the suite it is as good as the incumbent, or
    not."""
    if isinstance(prompt, list):
        return f"right {prompt[0]}" if model == NEW and prompt[0] % 3 else "wrong but as long"
    return "yes" if good or model == OLD else "no"


def make_suite(folder: Path) -> str:
    folder.mkdir()
    (folder / "suite.toml").write_text(CARD)
    lines = [json.dumps({"id": str(i), "prompt": f"p{i}", "target": "yes"}) for i in range(120)]
    (folder / "cases.jsonl").write_text("\n".join(lines))
    return str(folder)


def settings(*suites: str, **more: Any) -> GateSettings:
    return GateSettings(suites=suites, max_length_ratio=5.0, **more)


def test_better_on_reward_but_worse_on_a_suite_is_not_released(
    database_dsn: str, tmp_path: Path
) -> None:
    suite = make_suite(tmp_path / "mine")
    found = gate(database_dsn, tmp_path, lambda m, p: answers(m, p, False), settings(suite))
    assert (found.cycle.state, found.cycle.outcome) == ("ended", "rejected")
    assert f"FAIL: {suite} is worse" in (found.cycle.reason or "")
    assert found.cycle.verdict is not None
    (finding,) = found.cycle.verdict["evidence"]["suites"]
    assert (finding["standing"], finding["stopped"]) == ("WORSE", True)
    assert finding["difference"]["cases"] < 120
    (kept,) = (tmp_path / "cycles" / str(found.cycle.id) / "gate").glob("*.jsonl")
    assert len(kept.read_text().splitlines()) > finding["difference"]["cases"]


def test_what_holds_on_the_suite_too_goes_on_with_the_numbers_stored(
    database_dsn: str, tmp_path: Path
) -> None:
    suite = make_suite(tmp_path / "mine")
    found = gate(database_dsn, tmp_path, lambda m, p: answers(m, p, True), settings(suite))
    assert found.cycle.state == "canary", found.cycle.reason
    assert found.cycle.verdict is not None
    (finding,) = found.cycle.verdict["evidence"]["suites"]
    assert (finding["standing"], finding["difference"]["cases"]) == ("NOT_WORSE", 120)


def test_earlier_cases_judge_again_and_no_answer_is_asked_for_twice(
    database_dsn: str, tmp_path: Path
) -> None:
    def reply(model: str, prompt: Any) -> str:
        number = prompt[0]
        if number < ROWS or model == OLD:
            return "as before" if model != NEWER else f"right {number}"
        return "wrong but as long"

    first = gate(database_dsn, tmp_path, reply, settings())
    assert first.cycle.outcome == "rejected"
    assert len(first.asked) == 2 * ROWS
    second = gate(database_dsn, tmp_path, reply, settings(), NEWER)
    asked = [(body["model"], body["prompt"][0]) for body in second.asked]
    assert sorted(asked) == sorted(
        [(NEWER, i) for i in range(2 * ROWS)] + [(OLD, i) for i in range(ROWS, 2 * ROWS)]
    )
    assert second.cycle.verdict is not None
    reward = second.cycle.verdict["evidence"]["reward"]
    assert reward["cases"] == 2 * ROWS
    # Right on the earlier half, wrong as before on the new one.
    assert reward["mean"] == pytest.approx(0.5)


def test_suites_are_not_asked_where_the_rest_does_not_pass(
    database_dsn: str, tmp_path: Path
) -> None:
    suite = make_suite(tmp_path / "mine")
    found = gate(database_dsn, tmp_path, lambda m, p: "as before", settings(suite))
    assert found.cycle.outcome == "rejected"
    assert all(isinstance(body["prompt"], list) for body in found.asked)


def test_a_suite_that_cannot_be_used_fails_the_cycle_by_name(
    database_dsn: str, tmp_path: Path
) -> None:
    found = gate(
        database_dsn, tmp_path, lambda m, p: answers(m, p, True), settings("no-such-suite")
    )
    assert found.cycle.outcome == "failed"
    assert "there is no suite 'no-such-suite'" in (found.cycle.reason or "")


def searched(model: str, question: str, good: str) -> str:
    """What is asked for in the suite, from one of the two; as long an excuse from the other."""
    (target,) = (c.target for c in open_search().cases() if c.messages[0]["content"] == question)  # type: ignore[index]
    return f"It is {target}, no doubt." if model == good else "It is not known at all."


def test_outcomes_alone_release_what_does_better_on_whole_episodes(
    database_dsn: str, tmp_path: Path
) -> None:
    found = gate(
        database_dsn,
        tmp_path,
        lambda m, p: "as before",
        settings(episodes=("search",), cases=ROWS // 4),
        chats=lambda model, question: searched(model, question, NEW),
    )
    assert found.cycle.state == "canary", found.cycle.reason
    assert len(found.asked) == 2 * (ROWS // 4)
    assert found.cycle.verdict is not None
    assert found.cycle.verdict["reasons"][0].startswith("search is better: +1.0000 [")
    evidence = found.cycle.verdict["evidence"]
    (finding,) = evidence["suites"]
    assert (finding["aim"], finding["difference"]["sessions"]) == ("no_harm", 12)
    assert evidence["monitors"]["candidate"]["answers"] == 84


@pytest.mark.parametrize(
    ("reply", "state"),
    [("Here is what you asked for.", "canary"), ("I'm sorry, but I can't help.", "ended")],
)
def test_a_service_that_only_chats_releases_what_is_likelier_and_answers_as_before(
    database_dsn: str, tmp_path: Path, reply: str, state: str
) -> None:
    found = gate(
        database_dsn,
        tmp_path,
        lambda model, prompt: reply if model == NEW else "Here is what you wanted, I think.",
        settings(),
        talk=True,
    )
    assert found.cycle.state == state, found.cycle.reason
    assert {tuple(body["prompt"]) for body in found.asked} == {(i,) for i in range(ROWS)}
    assert all("stop" not in body for body in found.asked)
    verdict = found.cycle.verdict or {}
    assert verdict["evidence"]["monitors"]["candidate"]["answers"] == ROWS
    assert verdict["evidence"]["reward"] is None
    if state == "ended":
        assert verdict["causes"] == ["habits"]


def test_what_does_worse_on_whole_episodes_is_not_released(
    database_dsn: str, tmp_path: Path
) -> None:
    found = gate(
        database_dsn,
        tmp_path,
        lambda m, p: "never asked",
        settings(episodes=("search",)),
        chats=lambda model, question: searched(model, question, OLD),
    )
    assert found.cycle.outcome == "rejected"
    assert "FAIL: search is worse: -1.0000" in (found.cycle.reason or "")


def test_without_episodes_none_are_asked(database_dsn: str, tmp_path: Path) -> None:
    found = gate(database_dsn, tmp_path, lambda m, p: answers(m, p, True), settings())
    assert found.cycle.state == "canary", found.cycle.reason
    assert (found.cycle.verdict or {})["evidence"]["suites"] == []


def test_fewer_accepted_is_harm_though_the_reward_is_better(
    database_dsn: str, tmp_path: Path
) -> None:
    """The candidate says nothing where the incumbent is wrong, and where it is right, too."""

    def reply(model: str, prompt: Any) -> str:
        right = prompt[0] % 3 == 0
        if model == OLD:
            return f"right {prompt[0]}" if right else "wrong but as long"
        return f"right {prompt[0]}" if right and prompt[0] % 2 else ""

    found = gate(database_dsn, tmp_path, reply, settings(max_withheld=1.0))
    assert found.cycle.outcome == "rejected"
    reason = found.cycle.reason or ""
    assert "users would have accepted 50% of what they accept of the incumbent" in reason
    assert found.cycle.verdict is not None
    assert found.cycle.verdict["evidence"]["reward"]["mean"] > 0


@pytest.mark.parametrize("estimator", ["snips", "ips", "doubly_robust"])
def test_the_chosen_estimate_is_made(database_dsn: str, tmp_path: Path, estimator: str) -> None:
    found = gate(
        database_dsn,
        tmp_path,
        lambda m, p: answers(m, p, True),
        settings(estimator=estimator),
    )
    assert found.cycle.verdict is not None
    estimate = found.cycle.verdict["evidence"]["offpolicy"]
    assert estimate["cases"] == ROWS
    assert estimate["value"] is not None
    drawn = [body for body in found.asked if body["temperature"] == 0.5]
    assert len(drawn) == (2 * ROWS if estimator == "doubly_robust" else 0)
    assert all("seed" in body for body in drawn)


def test_what_passes_is_not_released_against_the_rules(database_dsn: str, tmp_path: Path) -> None:
    rule = Rule(name="frozen", when=("release",), then="deny", reason="nothing before the audit")
    terms = Terms([Candidate(facts=unknown_facts("code"))], [rule])
    found = gate(database_dsn, tmp_path, lambda m, p: answers(m, p, True), settings(), terms=terms)
    assert found.cycle.outcome == "rejected"
    assert found.cycle.reason == (
        "terms do not allow a release: nothing before the audit (rule frozen)"
    )
    assert (found.cycle.verdict or {})["outcome"] == "PASS"

    async def denied() -> list[tuple[str, str, str]]:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            return [(one.model, one.action, one.rule) for one in await read_denials(conn)]

    assert asyncio.run(denied()) == [("code", "release", "frozen")]


@pytest.mark.parametrize(("needs", "state"), [("better", "ended"), ("no harm", "canary")])
def test_what_was_brought_in_place_of_other_weights_need_not_be_better(
    database_dsn: str, tmp_path: Path, needs: Need, state: str
) -> None:
    trial = Trial(needs=needs, reason="a user was forgotten")
    found = gate(
        database_dsn, tmp_path, lambda m, p: "as before", settings(), terms=None, trial=trial
    )
    assert (found.cycle.verdict or {})["outcome"] == "INCONCLUSIVE"
    assert found.cycle.state == state


def test_harm_is_harm_whoever_brought_it(database_dsn: str, tmp_path: Path) -> None:
    def reply(model: str, prompt: Any) -> str:
        return f"right {prompt[0]}" if model == OLD else "wrong but as long"

    trial = Trial(needs="no harm", reason="a user was forgotten")
    found = gate(database_dsn, tmp_path, reply, settings(), trial=trial)
    assert found.cycle.outcome == "rejected"
    assert (found.cycle.verdict or {})["outcome"] == "FAIL"


def test_a_service_that_goes_away_meanwhile_is_asked_again_what_it_did_not_answer(
    database_dsn: str, tmp_path: Path
) -> None:
    reply: Answer = lambda m, p: answers(m, p, True)  # noqa: E731
    once = gate(database_dsn, tmp_path, reply, settings(), away=2 * ROWS - 1)
    assert once.cycle.state == "canary", once.cycle.reason
    # One of the two checkpoints had answered all, and is not asked again.
    assert len(once.asked) < 3 * ROWS + 8
