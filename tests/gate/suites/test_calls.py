from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gate.suites.doubles import ScriptedModel, always

from liveweights.gate.suites.calls import Expected, find_fault
from liveweights.gate.suites.suite import Attempt, ToolCall
from liveweights.gate.suites.tools import EACH, open_tools, read_questions

WEATHER: Expected = {"get_weather": {"city": ["Oslo", "Oslo, Norway"], "unit": ["", "C"]}}
TIMER: Expected = {"set_timer": {"minutes": [5]}}


def call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(id="c", name=name, arguments=json.dumps(arguments))


@pytest.mark.parametrize(
    ("calls", "expected", "why"),
    [
        ([call("get_weather", city="oslo")], [WEATHER], None),
        ([call("get_weather", city="Oslo Norway", unit="C")], [WEATHER], None),
        (
            [call("set_timer", minutes=5.0), call("get_weather", city="Oslo")],
            [WEATHER, TIMER],
            None,
        ),
        ([], [], None),
        ([], [TIMER], "0 calls where 1 are right"),
        ([call("set_timer", minutes=5)], [], "1 calls where 0 are right"),
        ([call("timer", minutes=5)], [TIMER], "timer is called, not set_timer"),
        ([call("set_timer")], [TIMER], "set_timer: minutes is missing"),
        ([call("set_timer", minutes="5")], [TIMER], "set_timer: minutes is '5'"),
        ([call("set_timer", minutes=True)], [{"set_timer": {"minutes": [1]}}], "minutes is True"),
        ([call("set_timer", minutes=5, loud=1)], [TIMER], "set_timer has no argument loud"),
        ([ToolCall(id="c", name="set_timer", arguments="{")], [TIMER], "no JSON object"),
        ([call("set_timer", minutes=5)] * 2, [TIMER, WEATHER], "set_timer is called"),
        ([call("f", of={"a": [1, "B"]})], [{"f": {"of": [{"a": [[1, "b"]]}]}}], None),
    ],
)
def test_calls_are_compared_by_name_and_arguments(
    calls: list[ToolCall], expected: list[Expected], why: str | None
) -> None:
    fault = find_fault(calls, expected)
    assert fault is None if why is None else why in (fault or "")


@given(st.permutations(["set_timer", "get_weather", "play"]))
def test_the_order_of_calls_changes_nothing(order: list[str]) -> None:
    expected: list[Expected] = [{name: {"a": [1]}} for name in ("play", "set_timer", "get_weather")]
    assert find_fault([call(name, a=1) for name in order], expected) is None


@pytest.mark.parametrize("value", ["[" * 900 + "]" * 900, "[" * 9000 + "]" * 9000, "1" * 9000])
def test_what_a_model_in_a_loop_writes_is_wrong_and_no_error(value: str) -> None:
    looped = ToolCall(id="c", name="set_timer", arguments=f'{{"minutes": {value}}}')
    fault = find_fault([looped], [TIMER])
    assert fault is not None


THINQ: Expected = {
    "ThinQ_Connect": {
        "body": [
            {"airConJobMode": ["AIR_CLEAN"], "monitoringEnabled": [True],
             "powerSaveEnabled": ["", False], "coolTargetTemperature": ["", 24]},
        ]
    }
}  # fmt: skip
"""As in live_simple_40-17-0 of the Berkeley Function-Calling Leaderboard."""


@pytest.mark.parametrize(
    ("body", "right"),
    [
        ({"airConJobMode": "AIR_CLEAN", "monitoringEnabled": True}, True),
        (
            {"airConJobMode": "air clean", "monitoringEnabled": True, "powerSaveEnabled": False},
            True,
        ),
        (
            {"airConJobMode": "AIR_CLEAN", "monitoringEnabled": True, "powerSaveEnabled": True},
            False,
        ),
        ({"airConJobMode": "AIR_CLEAN", "coolTargetTemperature": 24}, False),
        ({"airConJobMode": "AIR_CLEAN", "monitoringEnabled": True, "new": 1}, False),
        ({}, False),
    ],
)
def test_a_key_of_an_object_may_be_left_out_where_it_says_so(
    body: dict[str, Any], right: bool
) -> None:
    assert (find_fault([call("ThinQ_Connect", body=body)], [THINQ]) is None) == right


def test_questions_are_of_four_kinds_and_always_the_same() -> None:
    questions = read_questions()
    assert questions == read_questions()
    kinds = [id_.partition("/")[0] for id_ in questions]
    assert {kind: kinds.count(kind) for kind in kinds} == dict.fromkeys(
        ("simple", "multiple", "parallel", "irrelevance"), EACH
    )


def test_who_calls_rightly_solves_all_and_who_never_calls_the_idle_ones() -> None:
    suite = open_tools()

    def attempt_all(model: ScriptedModel) -> list[Attempt]:
        async def scene() -> list[Attempt]:
            return [await suite.attempt(case, model, 0) for case in suite.cases()]

        return asyncio.run(scene())

    by_text = {one.messages[-1]["content"]: one.expected for one in suite.questions.values()}

    def answer(prompt: str, seed: int) -> str:
        lines = [
            f"call {name} {json.dumps({key: values[0] for key, values in arguments.items()})}"
            for one in by_text[prompt]
            for name, arguments in one.items()
        ]
        return "\n".join(lines) or "I need no tool."

    assert all(one.score == 1 for one in attempt_all(ScriptedModel("right", answer)))
    silent = attempt_all(always("silent", "I do not know."))
    assert sum(one.score for one in silent) == EACH
