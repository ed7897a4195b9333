from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.gate.suites.doubles import Answer, ScriptedModel, always

from liveweights.gate.findings import Measured, judge
from liveweights.gate.suites.journal import Head, Journal, digest
from liveweights.gate.suites.model import Refused
from liveweights.gate.suites.questions import Questions, exact
from liveweights.gate.suites.run import Plan, run_suite
from liveweights.gate.suites.suite import (
    Attempt,
    Card,
    Case,
    Model,
    NothingMeasured,
    SuiteError,
)

CARD = Card(name="letters", version="1", title="t", licence="CC0-1.0")
ONE = Plan(concurrency=1)
HEAD = Head(suite="letters", version="1", content="c", candidate="new", incumbent="old", seed=0)


def letters(count: int = 20, card: Card = CARD) -> Questions:
    return Questions(
        card, [Case(id=str(i), prompt=f"p{i}", target="yes") for i in range(count)], exact
    )


def test_both_get_every_case_with_the_same_seed_and_take_turns_in_going_first() -> None:
    order: list[str] = []

    def model(name: str) -> ScriptedModel:
        def answer(prompt: str, seed: int) -> str:
            order.append(name)
            return "yes" if name == "new" or prompt in ("p1", "p2") else "no"

        return ScriptedModel(name, answer)

    new, old = model("new"), model("old")
    card = msgspec.structs.replace(CARD, samples=2)
    plan = Plan(seed=3, concurrency=1)
    measured = asyncio.run(run_suite(letters(6, card), new, old, plan))
    assert sorted(new.asked) == sorted(old.asked)
    assert len({seed for _, seed in new.asked}) == 12
    assert order[::2].count("new") == 6
    assert measured.candidate == [1.0] * 6
    assert measured.incumbent == [0.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    assert measured.planned == 6


def test_a_run_that_died_goes_on_without_asking_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "letters.jsonl", HEAD)

    def dies(prompt: str, seed: int) -> str:
        if prompt == "p7":
            raise ConnectionError("killed")
        return "yes"

    with pytest.raises(ConnectionError):
        asyncio.run(
            run_suite(
                letters(), ScriptedModel("new", dies), always("old", "no"), ONE, journal=journal
            )
        )
    with (tmp_path / "letters.jsonl").open("ab") as file:
        file.write(b'{"case": "half a li')
    new = always("new", "no")
    measured = asyncio.run(run_suite(letters(), new, always("old", "no"), Plan(), journal=journal))
    assert len(new.asked) == 13
    assert measured.candidate == [1.0] * 7 + [0.0] * 13  # what was answered before counts
    again = always("new", "no")
    asyncio.run(run_suite(letters(), again, always("old", "no"), Plan(), journal=journal))
    assert again.asked == []


def test_a_journal_of_another_run_is_not_taken_over(tmp_path: Path) -> None:
    changed = msgspec.structs.replace
    for head, asked in [
        (HEAD, 20),
        (changed(HEAD, candidate="newer"), 20),
        (changed(HEAD, content=digest(letters(21))), 20),
        (changed(HEAD, content=digest(letters(20))), 20),
        (changed(HEAD, content=digest(letters(20))), 0),
    ]:
        new = always("new", "yes")
        journal = Journal(tmp_path / "letters.jsonl", head)
        asyncio.run(run_suite(letters(), new, always("old", "no"), Plan(), journal=journal))
        assert len(new.asked) == asked


def test_plain_harm_ends_a_run_early_and_is_found_again_by_the_judge() -> None:
    plan = Plan(stop_at=0.0125)
    new = always("new", "no")
    measured = asyncio.run(run_suite(letters(300), new, always("old", "yes"), plan))
    assert len(new.asked) < 40
    assert measured.planned == 300
    (finding,) = judge([measured], 0.95, 0.8)
    assert (finding.standing, finding.stopped) == ("WORSE", True)
    unstopped = asyncio.run(run_suite(letters(60), new, always("old", "yes"), Plan()))
    assert len(unstopped.candidate) == 60


@dataclass
class Stuck(ScriptedModel):
    """Answers so many, and then none."""

    answers: int = 0

    async def complete(self, prompt: str | list[int], **how: Any) -> str:
        if len(self.asked) >= self.answers:
            await asyncio.Event().wait()
        return await ScriptedModel.complete(self, prompt, **how)


def test_where_the_time_is_up_what_both_have_answered_counts() -> None:
    new = Stuck("new", lambda prompt, seed: "yes", answers=6)
    plan = Plan(seconds=5.0, concurrency=1, aim="no_harm")
    measured = asyncio.run(run_suite(letters(), new, always("old", "no"), plan))
    assert measured.candidate == [1.0] * 6
    assert measured.answers == [("yes", "no")] * 6
    # Of all kinds, not the first ones.
    assert {prompt for prompt, _ in new.asked} != {f"p{i}" for i in range(6)}
    (finding,) = judge([measured], 0.95, 0.8)
    assert "6 of 20 cases in the time given" in finding.reason
    none = Stuck("new", lambda prompt, seed: "yes")
    with pytest.raises(NothingMeasured, match="no case was answered in time"):
        asyncio.run(run_suite(letters(), none, always("old", "no"), Plan(seconds=0.1)))


def test_equal_models_are_stopped_at_most_at_the_stated_rate() -> None:
    stopped, runs, rate = 0, 200, 0.1
    for number in range(runs):
        draw = random.Random(number)

        def coin(prompt: str, seed: int, draw: random.Random = draw) -> str:
            return draw.choice(["yes", "no"])

        measured = asyncio.run(
            run_suite(
                letters(60),
                ScriptedModel("new", coin),
                ScriptedModel("old", coin),
                Plan(stop_at=rate, concurrency=1),
            )
        )
        stopped += len(measured.candidate) < 60
    assert stopped / runs <= rate


class Slow:
    """Takes longer than its card allows for the candidate."""

    card = Card(name="slow", version="1", title="t", licence="x", seconds=0.05)

    def cases(self) -> list[Case]:
        return [Case(id="a", prompt="p")]

    def content(self) -> bytes:
        return b""

    async def attempt(self, case: Case, model: Model, seed: int) -> Attempt:
        if model.name == "new":
            await asyncio.sleep(60)
        return Attempt(score=1.0, answer="in time")

    async def close(self) -> None:
        pass


def test_out_of_time_is_a_score_of_nothing() -> None:
    measured = asyncio.run(run_suite(Slow(), always("new", ""), always("old", ""), Plan()))
    assert (measured.candidate, measured.incumbent) == ([0.0], [1.0])


def test_groups_reach_the_statistics_and_bad_suites_are_named() -> None:
    grouped = [Case(id=str(i), prompt="p", target="yes", group=str(i // 5)) for i in range(20)]
    measured = asyncio.run(
        run_suite(Questions(CARD, grouped, exact), always("a", "yes"), always("b", "no"), Plan())
    )
    assert measured.groups is not None
    assert len(set(measured.groups)) == 4
    for cases, words in [([], "no cases"), ([grouped[0], grouped[0]], "two cases of one id")]:
        with pytest.raises(SuiteError, match=words):
            asyncio.run(
                run_suite(Questions(CARD, cases, exact), always("a", ""), always("b", ""), Plan())
            )


def test_what_is_refused_scores_nothing_but_not_everything_may_be() -> None:
    def picky(prompt: str, seed: int) -> str:
        if prompt == "p1":
            raise Refused("400: too long")
        return "yes"

    def closed(prompt: str, seed: int) -> str:
        raise Refused("400: no chat template")

    def locked(prompt: str, seed: int) -> str:
        raise Refused("401: no such key", unfit=False)

    def ask(answer: Answer) -> Measured:
        models = (ScriptedModel("new", answer), ScriptedModel("old", answer))
        return asyncio.run(run_suite(letters(4), *models, Plan()))

    assert ask(picky).candidate == [1.0, 0.0, 1.0, 1.0]
    with pytest.raises(SuiteError, match="every case was refused: 400: no chat template"):
        ask(closed)
    with pytest.raises(Refused, match="401"):
        ask(locked)
