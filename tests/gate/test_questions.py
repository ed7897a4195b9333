from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import pytest
from aiohttp import ClientError, web
from hypothesis import given
from hypothesis import strategies as st
from tests.record.rows import make_generation

from liveweights.gate import questions
from liveweights.gate.calibration import Draft
from liveweights.gate.questions import CHAT_TOKENS, NotAnswered, NotReady, ask, ending, served
from liveweights.gate.scoring import Case

MODEL = "m@000000000001"


def answer(truth: str | None = "x = 1", checkpoint: str = MODEL, **changes: Any) -> Draft | None:
    values = {
        "checkpoint": MODEL,
        "temperature": 0.0,
        "output": "x = 1",
        "raw_logprobs": [-0.5, -0.25],
        "shaping": {"stop": ["\n\n"]},
        **changes,
    }
    return served(checkpoint, Case("g", "s", truth), make_generation("g", **values))


def test_a_greedy_answer_stands_where_it_ended_as_it_would_now() -> None:
    assert answer() == Draft("x = 1", -0.75)
    assert answer(truth=None) == Draft("x = 1", -0.75)
    lines = "x = 1\ny"
    assert answer(output=lines) is None  # it was asked for more than the line
    assert answer(truth="x = 1\ny\n", output=lines) == Draft(lines, -0.75)
    assert answer(healed="\n", output=lines) == Draft(lines, -0.75)
    assert answer(output="", selection=-0.1) is None  # withheld: nobody knows how it went on
    assert answer(raw_logprobs=[]) is None
    # Nobody knows where it would end; something is not asked for again; it may go on now.
    assert answer(shaping={}) is None
    assert answer(shaping={"stop": [], "guided_by": ["frequency_penalty"]}) is None
    assert answer(finish_reason="length", max_tokens=2) is None
    assert answer(finish_reason="length", max_tokens=16) == Draft("x = 1", -0.75)


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


texts = st.text(st.sampled_from("ab\n"), max_size=8)


@given(
    st.text(st.sampled_from("ab\n"), min_size=1, max_size=12),
    st.lists(st.sampled_from(["\n", "\n\n", "b", "ab"]), max_size=2, unique=True),
    st.none() | texts,
    st.booleans(),
)
def test_the_same_weights_are_judged_alike(
    whole: str, stop: list[str], truth: str | None, refused: bool
) -> None:
    """What stands for a greedy answer is what the weights would write if they were asked."""

    def write(stop: Sequence[str]) -> str:
        return whole[: min((whole.find(one) for one in stop if one in whole), default=None)]

    output = write(stop)
    generation = make_generation(
        "g", checkpoint=MODEL, temperature=0.0, output=output, shaping={"stop": stop}
    )
    case = Case("g", "s", truth, rejected=output if refused and output else None)
    asked = ending(case, generation)
    found = served(MODEL, case, generation)
    if found is not None:
        assert found.text == write(asked.stop)
    # A text that was rejected, or taken, can be written again.
    if truth is None or truth == output:
        assert write(asked.stop).rstrip() == output.rstrip()


def test_of_a_chat_a_part_is_asked_for_whatever_was_served() -> None:
    assert answer(truth=None, endpoint="chat") is None
    long = make_generation("g", endpoint="chat", output="one line", max_tokens=4096)
    end = ending(Case("g", "s", None), long)
    assert (end.stop, end.max_tokens) == ([], CHAT_TOKENS)
    short = make_generation("g", endpoint="chat", max_tokens=20, shaping={"stop": ["###"]})
    end = ending(Case("g", "s", None), short)
    assert (end.stop, end.max_tokens) == (["###"], 20)


def test_a_draft_is_another_where_it_ends_elsewhere() -> None:
    generation = make_generation("g", output="x = 1", shaping={"stop": ["\n\n"]})
    line = ending(Case("g", "s", "x = 1"), generation)
    lines = ending(Case("g", "s", "x = 1\ny"), generation)
    assert (line.stop, lines.stop) == (["\n\n", "\n"], ["\n\n"])
    assert line.digest() != lines.digest()
    assert line.digest() == ending(Case("g", "s", "z"), generation).digest()
    # As many as the API takes.
    full = make_generation("g", shaping={"stop": [f"<{n}>" for n in range(32)]})
    assert len(ending(Case("g", "s", "x"), full).stop) == 32


SLOW, BESIDE = 504, 505
"""Prompts that begin so are answered slowly, and after another was refused."""


def put(
    *generations: Any, at_once: int = 1, kept: dict[str, Draft] | None = None
) -> tuple[dict[str, Draft], list[Any]]:
    """Answers of a service that takes ten characters, and the prompts that it was asked. What is
    answered until it fails is ``kept``."""
    prompts: list[Any] = []
    failed = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        prompt = (await request.json())["prompt"]
        prompts.append(prompt)
        if prompt[0] == SLOW:
            await asyncio.sleep(0.3)
        if prompt == [BESIDE]:
            await failed.wait()
        if prompt == [503]:
            failed.set()
        if prompt == [503]:
            return web.json_response({"error": {"message": "starting"}}, status=503)
        if len(prompt) > 10:
            refused = {"error": {"message": "too long", "code": "context_length_exceeded"}}
            return web.json_response(refused, status=400)
        told = {"token_logprobs": [-1.0, None if prompt == "x =" else -2.0]}
        return web.json_response({"choices": [{"text": " 1", "logprobs": told}]})

    async def run() -> dict[str, Draft]:
        app = web.Application()
        app.router.add_post("/v1/completions", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            url = "http://{}:{}".format(*runner.addresses[0][:2])
            cases = [(Case(g.id, "s", None), g) for g in generations]
            told = None if kept is None else kept.__setitem__
            return await ask(url, MODEL, cases, concurrency=at_once, answered=told)
        finally:
            await runner.cleanup()

    return asyncio.run(run()), prompts


def test_prompts_are_asked_as_they_are_known() -> None:
    words = make_generation("words", prompt_ids=[], prompt='{"prompt": "x ="}')
    answers, prompts = put(make_generation("ids", prompt_ids=[1, 2]), words)
    assert answers["ids"] == Draft(" 1", -3.0)
    assert answers["words"].text == " 1"
    assert math.isnan(answers["words"].confidence)  # where not all is told, nothing is known
    assert sorted(map(str, prompts)) == ["[1, 2]", "x ="]


def test_what_is_too_long_for_this_model_is_not_answered() -> None:
    long = make_generation("long", prompt_ids=[], prompt='{"prompt": "0123456789x"}')
    assert put(long, make_generation("ids"))[0] == {"ids": Draft(" 1", -3.0)}
    # What a model of ours took before fits: a refusal is a fault.
    with pytest.raises(NotAnswered, match="did not answer the gate"):
        put(make_generation("own", prompt_ids=list(range(11))))


def test_what_is_long_may_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "SECONDS", 0.1)
    monkeypatch.setattr(questions, "SECONDS_PER_TOKEN", 0.0)
    slow = make_generation("slow", prompt_ids=[SLOW, 1, 2])
    kept: dict[str, Draft] = {}
    with pytest.raises(TimeoutError, match=f"{MODEL} did not answer a prompt of 3 tokens within"):
        put(make_generation("quick", prompt_ids=[1]), slow, kept=kept)
    assert kept == {"quick": Draft(" 1", -3.0)}
    monkeypatch.setattr(questions, "SECONDS_PER_TOKEN", 10.0)
    assert put(slow)[0] == {"slow": Draft(" 1", -3.0)}


def test_what_is_under_way_when_another_fails_is_answered_and_no_more_is_asked() -> None:
    kept: dict[str, Draft] = {}
    rows = [make_generation(f"g{id}", prompt_ids=[id]) for id in (BESIDE, 503, 1, 2, 3)]
    with pytest.raises(NotReady):
        put(*rows, at_once=2, kept=kept)
    assert list(kept) == [f"g{BESIDE}"]


def test_a_service_that_cannot_answer_now_is_waited_for() -> None:
    with pytest.raises(NotReady, match="starting"):
        put(make_generation("busy", prompt_ids=[503]), make_generation("ids", prompt_ids=[1]))
    gone = make_generation("gone")
    with pytest.raises(ClientError):
        asyncio.run(
            ask("http://127.0.0.1:9", MODEL, [(Case(gone.id, "s", None), gone)], concurrency=1)
        )
