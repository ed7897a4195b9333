"""A conversation's items as chat messages."""

from __future__ import annotations

import pytest
from tests.effort import at_most

from liveweights.serve.api.responses.items import Item, to_messages

CALL = Item(type="function_call", call_id="c", name="f", arguments="{}")
SERVED = Item(type="mcp_call", id="s", server_label="l", name="f", arguments="{}", output="1")
TOLD = Item(role="assistant", content="I look.")


@pytest.mark.parametrize("item", [CALL, SERVED])
@pytest.mark.parametrize("before", [[], [TOLD]])
def test_many_calls_of_one_answer_are_gathered_at_once(item: Item, before: list[Item]) -> None:
    count = 150_000
    with at_most(20.0):  # each with all before it copied, it would take a minute
        first, *rest = to_messages([*before, *[item] * count], "input")
    assert len(first.tool_calls or ()) == count
    assert len(rest) == (count if item is SERVED else 0)
