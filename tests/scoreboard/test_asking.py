from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import pytest
from aiohttp import web
from tests.gate.suites.doubles import ScriptedModel
from tests.gate.suites.test_model import with_server

from liveweights.gate.suites.model import ApiModel, Refused
from liveweights.gate.suites.questions import Questions, exact
from liveweights.gate.suites.run import REFUSED
from liveweights.gate.suites.suite import Card, Case, SuiteError
from liveweights.scoreboard.asking import Budget, Entry, ask, conditions_of
from liveweights.scoreboard.entrants import Entrant, Pricing
from liveweights.scoreboard.results import Result, ScoreboardError, find_refusal

CARD = Card(name="letters", version="1", title="t", licence="CC0-1.0")
SUITE = Questions(CARD, [Case(id=str(i), prompt=f"p{i}", target="yes") for i in range(12)], exact)


@dataclass
class Counting(ScriptedModel):
    """Tells what its answers used, as a service does."""

    told: Callable[[Mapping[str, Any]], None] | None = None
    seeds: dict[str, int] = field(default_factory=dict[str, int])

    def _answer(self, prompt: str, seed: int) -> str:
        if self.told:
            self.told({"prompt_tokens": 10, "completion_tokens": 1})
        self.seeds[prompt] = seed
        return super()._answer(prompt, seed)


Kept = defaultdict[int, dict[tuple[str, int], Result]]


def entry(number: int, kept: Kept, said: str = "yes", repeat: int = 0) -> Entry:
    model = Counting(f"m{number}", lambda prompt, seed: said)
    entrant = Entrant(model.name, pricing=Pricing(1.0, 1.0))
    return Entry(number, entrant, cast(ApiModel, model), repeat, dict(kept[number]))


async def go(entries: list[Entry], kept: Kept, **more: Any) -> bool:
    async def keep(run: int, result: Result) -> None:
        kept[run][result.case, result.sample] = result

    return await ask(SUITE, entries, keep, concurrency=1, **more)


def test_all_answer_the_same_cases_with_the_same_seeds() -> None:
    kept = Kept(dict)
    entries = [entry(1, kept), entry(2, kept, "no"), entry(3, kept, repeat=1)]
    assert asyncio.run(go(entries, kept))
    assert [len(kept[number]) for number in (1, 2, 3)] == [12, 12, 12]
    assert sum(one.score for one in kept[1].values()) == 12
    assert sum(one.score for one in kept[2].values()) == 0
    seeds = [cast(Counting, one.model).seeds for one in entries]
    assert seeds[0] == seeds[1]
    assert not set(seeds[0].values()) & set(seeds[2].values())
    one = kept[1]["0", 0]
    assert (one.prompt_tokens, one.completion_tokens, one.nanos) == (10, 1, 11_000)


def test_a_spent_budget_stops_and_the_same_goes_on() -> None:
    kept = Kept(dict)
    assert not asyncio.run(go([entry(1, kept)], kept, budget=Budget(money=0.000040)))
    first = dict(kept[1])
    assert len(first) == 4
    rest = entry(1, kept)
    assert asyncio.run(go([rest], kept))
    assert len(cast(Counting, rest.model).asked) == 8
    assert {key: kept[1][key] for key in first} == first


SLOW = Questions(msgspec.structs.replace(CARD, seconds=0.5, private=True), SUITE.cases(), exact)
"""Of which nothing is kept but scores."""


def lose(kept: Kept, suite: Questions, lost: set[int], most: float | None) -> bool:
    """Ask a model over HTTP whose answers to the cases ``lost`` never come, or count no tokens."""

    over = asyncio.Event()

    async def serve(request: web.Request) -> web.Response:
        body = await request.json()
        if int(body["prompt"][1:]) in lost:
            if suite is SLOW:
                await over.wait()
            return web.json_response({"choices": [{"text": "yes"}]})
        usage = {"prompt_tokens": 10, "completion_tokens": 1}
        return web.json_response({"choices": [{"text": "yes"}], "usage": usage})

    async def go(model: ApiModel) -> bool:
        async def keep(run: int, result: Result) -> None:
            kept[run][result.case, result.sample] = result

        entrant = Entrant("m", pricing=Pricing(1.0, 1.0))
        one = Entry(1, entrant, model, 0, dict(kept[1]))
        try:
            return await ask(suite, [one], keep, concurrency=1, budget=Budget(money=most))
        finally:
            over.set()

    return with_server(serve, go)


@pytest.mark.parametrize("suite", [SUITE, SLOW])
def test_an_attempt_that_does_not_say_what_it_cost_counts_as_the_dearest(suite: Questions) -> None:
    kept = Kept(dict)
    assert not lose(kept, suite, {1, 2}, 0.000_040)
    assert list(kept[1]) == [(str(number), 0) for number in range(4)]
    lost = kept[1]["1", 0]
    assert (lost.prompt_tokens, lost.completion_tokens, lost.nanos) == (None, None, None)
    assert kept[1]["3", 0].nanos == 11_000
    # What is known from before says it, too, but is not spent again.
    assert not lose(kept, suite, {4, 5, 6, 7, 8}, 0.000_040)
    assert len(kept[1]) == 8


@pytest.mark.parametrize("suite", [SUITE, SLOW])
def test_money_that_cannot_be_bounded_is_not_spent(suite: Questions) -> None:
    kept = Kept(dict)
    with pytest.raises(ScoreboardError, match="m costs cannot be bounded: of 3 attempts"):
        lose(kept, suite, set(range(12)), 0.000_040)
    assert len(kept[1]) == 3
    # Without such a bound it is asked all the same.
    assert lose(kept, suite, {3, 4}, None)
    assert len(kept[1]) == 12


def test_of_a_hosted_model_without_a_price_money_cannot_be_bounded() -> None:
    kept = Kept(dict)
    entrant = Entrant("m", data={"sent_to": "api.example.com"})
    model = cast(ApiModel, Counting("m", lambda prompt, seed: "yes"))
    with pytest.raises(ScoreboardError, match=r"m costs cannot be bounded.* no price"):
        asyncio.run(go([Entry(1, entrant, model, 0, {})], kept, budget=Budget(money=2.5)))
    assert len(kept[1]) == 3
    assert asyncio.run(go([Entry(1, entrant, model, 0, dict(kept[1]))], kept))


def test_a_refusal_costs_nothing_and_says_nothing_of_what_others_cost() -> None:
    budget = Budget(money=1.0)
    budget.learn("m", 0)
    budget.add("m", 0)
    budget.add("m", None)
    budget.add("m", None)
    with pytest.raises(ScoreboardError, match="cannot be bounded"):
        budget.add("m", None)


def test_time_is_a_bound_too() -> None:
    budget = Budget(seconds=0.0)
    assert not asyncio.run(go([entry(1, Kept(dict))], Kept(dict), budget=budget))
    assert budget.exhausted == "0 minutes"


def test_a_model_that_refuses_every_case_is_no_zero() -> None:
    def refuse(prompt: str, seed: int) -> str:
        raise Refused("no chats", unfit=True)

    def refusing() -> Entry:
        model = Counting("m", refuse)
        return Entry(1, Entrant("m"), cast(ApiModel, model), 0, dict(kept[1]))

    def start(*entries: Entry) -> bool:
        with pytest.raises(SuiteError, match=r"m refused: no chats.*scoreboard remove 1"):
            asyncio.run(go([*entries], kept))
        return bool(find_refusal(kept[1].values()))

    # Whatever was kept before: nothing, some of it, all of it, and whoever is asked beside it.
    kept = Kept(dict)
    assert start(refusing())
    assert len(kept[1]) == 12
    assert start(refusing())
    for some in range(13):
        kept[1] = dict(list(kept[1].items())[:some])
        assert start(entry(2, kept), refusing())
        assert len(kept[1]) == 12


def test_one_that_refuses_until_a_budget_is_spent_goes_on() -> None:
    kept = Kept(dict)
    asked: list[str] = []

    def refuse(prompt: str, seed: int) -> str:
        asked.append(prompt)
        raise Refused("no chats", unfit=True)

    def one() -> Entry:
        return Entry(1, Entrant("m"), cast(ApiModel, Counting("m", refuse)), 0, dict(kept[1]))

    budget = Budget(seconds=1e-9)
    assert not asyncio.run(go([one()], kept, budget=budget))
    assert not asked
    kept[1]["0", 0] = Result(case="0", score=0.0, detail=f"{REFUSED}no chats")
    with pytest.raises(SuiteError, match="every case"):
        asyncio.run(go([one()], kept))
    assert len(asked) == 11


def test_one_that_refuses_some_cases_scores_zero_there() -> None:
    def answer(prompt: str, seed: int) -> str:
        if prompt == "p0":
            raise Refused("too long", unfit=True)
        return "yes"

    kept = Kept(dict)
    some = Entry(1, Entrant("m"), cast(ApiModel, Counting("m", answer)), 0, {})
    assert asyncio.run(go([some], kept))
    assert sum(one.score for one in kept[1].values()) == 11
    assert not find_refusal(kept[1].values())


def test_conditions_change_with_what_is_asked() -> None:
    one = conditions_of(SUITE, 0, 0)
    assert (one.suite, one.cases, one.samples) == ("letters", 12, 1)
    assert conditions_of(SUITE, 5, 0).cases == 5
    changed = Questions(CARD, [Case(id="0", prompt="other", target="yes")], exact)
    assert conditions_of(changed, 0, 0).content != one.content
