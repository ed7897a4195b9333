from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.selection import Selection

from .doubles import BASE, Api, make_api

# Every token of the scripted engine has -0.5: " hello" and its end have -3.5.
SURE = Selection(slope=1.0, intercept=4.0)
UNSURE = Selection(slope=1.0, intercept=2.0)


def api_with(selection: Selection | None, text: str = "hello") -> Api:
    api = make_api(text)
    api.router.introduce(Checkpoint(BASE, "base", Path(".")), selection)
    return api


def ask(api: Api, **how: Any) -> Any:
    answer = api.complete(silence=True, **how)
    assert answer.status == 200
    return answer.json()["choices"][0]


def test_an_unsure_answer_is_withheld() -> None:
    api = api_with(UNSURE)
    choice = ask(api, temperature=0, logprobs=1)
    assert (choice["text"], choice["finish_reason"]) == ("", "stop")
    assert choice["logprobs"]["tokens"] == []
    generation = api.recorder.only()
    assert generation.withheld
    assert (generation.output, generation.selection) == ("", 0.0)
    # It is given up at -2.5, and the engine with it.
    assert len(generation.output_ids) == api.engine.yielded == 5
    assert api.engine.open == 0


def test_a_sure_answer_is_shown() -> None:
    api = api_with(SURE)
    assert ask(api, temperature=0)["text"] == "hello"
    generation = api.recorder.only()
    assert (generation.withheld, generation.selection) == (False, 0.0)


def test_only_who_asks_for_it_gets_silence() -> None:
    api = api_with(UNSURE)
    assert api.complete(temperature=0).json()["choices"][0]["text"] == "hello"
    assert api.recorder.only().selection is None


def test_without_a_selection_everything_is_shown() -> None:
    api = api_with(None)
    assert ask(api, temperature=0)["text"] == "hello"
    assert api.recorder.only().selection == 0.0


def test_chance_decides_where_there_is_temperature() -> None:
    api = api_with(UNSURE)
    texts = [ask(api, temperature=1.0, seed=seed)["text"] for seed in range(200)]
    again = [ask(api, temperature=1.0, seed=seed)["text"] for seed in range(200)]
    assert texts == again
    chance = 1 / (1 + math.exp(1.5))  # of -3.5 + 2
    assert texts.count("hello") / 200 == pytest.approx(chance, abs=0.1)
    (of_shown,) = {g.selection for g in api.recorder.generations.values() if g.output}
    assert of_shown == pytest.approx(math.log(chance))


def test_a_stream_says_nothing_until_it_is_decided() -> None:
    api = api_with(UNSURE)
    (event,) = api.complete(silence=True, temperature=0, stream=True, logprobs=1).events()
    assert event["choices"][0]["text"] == ""
    assert event["choices"][0]["logprobs"]["tokens"] == []
    assert event["choices"][0]["finish_reason"] == "stop"

    events = api_with(SURE).complete(silence=True, temperature=0, stream=True).events()
    assert [event["choices"][0]["text"] for event in events] == [*"hello", ""]


def test_a_long_answer_streams_once_it_is_known_to_be_shown() -> None:
    early = Selection(slope=1.0, intercept=4.0, tokens=4)
    api = api_with(early, "x" * 30)
    assert ask(api, temperature=0)["text"] == "x" * 30
    assert api.recorder.only().selection == 0.0


def test_every_choice_is_decided_by_itself() -> None:
    api = api_with(UNSURE)
    answer = api.complete(silence=True, temperature=1.0, seed=0, n=8).json()
    assert {choice["text"] for choice in answer["choices"]} == {"", "hello"}
