from __future__ import annotations

from typing import Any

import pytest
from tests.record.rows import make_generation

from liveweights.cycle.questions import served
from liveweights.gate.replay import Case

MODEL = "m@000000000001"


def answer(truth: str | None = "x = 1", checkpoint: str = MODEL, **changes: Any) -> str | None:
    values = {"checkpoint": MODEL, "temperature": 0.0, "output": "x = 1\ny", **changes}
    return served(checkpoint, Case("g", "s", truth), make_generation("g", **values))


def test_a_greedy_answer_stands_as_far_as_its_user_read() -> None:
    assert answer() == "x = 1"
    assert answer(truth=None) == "x = 1"
    assert answer(truth="x = 1\ny\n") == "x = 1\ny"
    assert answer(healed="\n") == "x = 1\ny"
    assert answer(output="", selection=-0.1) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"checkpoint": "m@000000000002"},
        {"temperature": 0.5},
        {"finish_reason": "cancelled"},
        {"finish_reason": "error"},
    ],
)
def test_what_another_gave_or_chance_or_half_a_connection_does_not(changes: dict[str, Any]) -> None:
    made = {name: value for name, value in changes.items() if name != "checkpoint"}
    assert answer(checkpoint=changes.get("checkpoint", MODEL), **made) is None
