"""The answers of an episode, shown to the tenant that asked for them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.record.rows import make_feedback, make_generation
from tests.record.test_window import record

from .test_generations import KEYS, ONE, TWO, get


@pytest.fixture
def dsn(database_dsn: str) -> str:
    first = make_generation("gen_1", tenant="one", output="look", total_ms=10.0)
    rows = [first]
    for number in (2, 3):
        at = first.created_at + timedelta(seconds=number)
        rows.append(
            make_generation(
                f"gen_{number}",
                tenant="one",
                created_at=at,
                output=f"step {number}",
                metadata={"episode": "resp_1"},
            )
        )
    rows.append(make_generation("gen_4", tenant="two", metadata={"episode": "resp_1"}))
    record(database_dsn, *rows, make_feedback("f", "gen_3", tenant="one", signal="rejected"))
    return database_dsn


def test_its_steps_are_shown_in_order_with_what_was_said_of_each(dsn: str) -> None:
    shown = get(dsn, "/v1/episodes/resp_1", ONE).json()
    assert (shown["id"], shown["object"]) == ("resp_1", "episode")
    assert [step["generation"] for step in shown["steps"]] == ["gen_1", "gen_2", "gen_3"]
    assert [step["output"] for step in shown["steps"]] == ["look", "step 2", "step 3"]
    assert [[f["signal"] for f in s["feedback"]] for s in shown["steps"]] == [[], [], ["rejected"]]
    assert shown["output_tokens"] == sum(step["output_tokens"] for step in shown["steps"]) > 0


def test_it_is_its_tenants_only(dsn: str) -> None:
    shown = get(dsn, "/v1/episodes/resp_1", TWO).json()
    assert [step["generation"] for step in shown["steps"]] == ["gen_4"]
    assert get(dsn, "/v1/episodes/none", ONE).status == 404
    assert get(dsn, "/v1/episodes/resp_1", "wrong", KEYS).status == 401
