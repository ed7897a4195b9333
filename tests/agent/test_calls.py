from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from liveweights.agent.calls import Outcome, make_call
from liveweights.agent.tool import Listed, ToolError


class Says:
    """Gives ``answer``, or raises it; hangs where it is None."""

    def __init__(self, answer: str | Exception | None) -> None:
        self.answer = answer
        self.given: list[Mapping[str, Any]] = []
        self.cancelled = False

    async def list(self) -> Listed:
        return Listed(())

    async def call(self, name: str, arguments: Mapping[str, Any], /) -> str:
        self.given.append(arguments)
        if self.answer is None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        if isinstance(self.answer, Exception):
            raise self.answer
        assert self.answer is not None
        return self.answer


def call(tool: Says, arguments: str = "{}", *, seconds: float = 30.0) -> Outcome:
    return asyncio.run(make_call(tool, "tool", arguments, seconds=seconds, characters=100))


def test_arguments_go_in_and_text_comes_out() -> None:
    tool = Says("found")
    assert call(tool, '{"query": "a"}').output == "found"
    assert call(tool, "").failed is False
    assert tool.given == [{"query": "a"}, {}]


@pytest.mark.parametrize("arguments", ["{", "[1]", '"a"', "null", "[" * 5000])
def test_what_is_no_object_is_not_called_with(arguments: str) -> None:
    tool = Says("found")
    outcome = call(tool, arguments)
    assert outcome.failed
    assert outcome.output.startswith("error: the arguments")
    assert not tool.given


def test_a_tool_that_hangs_is_left() -> None:
    tool = Says(None)
    outcome = call(tool, seconds=0.05)
    assert outcome.failed
    assert "did not answer within 0.05 seconds" in outcome.output
    assert tool.cancelled


def test_a_tool_that_floods_is_cut() -> None:
    outcome = call(Says("x" * 10**7))
    assert not outcome.failed
    assert len(outcome.output) < 200
    assert "9999900 characters are cut" in outcome.output


def test_a_tool_that_fails_says_why() -> None:
    outcome = call(Says(ToolError("no such city")))
    assert (outcome.output, outcome.failed) == ("error: no such city", True)


def test_what_no_database_holds_is_replaced() -> None:
    assert call(Says("a\0b\ud800")).output == "a\ufffdb\ufffd"


def test_a_fault_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        call(Says(ZeroDivisionError()))
