from __future__ import annotations

import asyncio
import json
import random
import string
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serve.api.doubles import make_tokenizer

from liveweights.engines.guide import LONGEST, Guide, GuideMaker, ShortestFirst
from liveweights.engines.protocol import Constraint, InvalidConstraint, StringGrammar
from liveweights.engines.thinking import BudgetKeeper, ThinkingBudget
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import end_of_text_ids, load_tokenizer

TOKENIZER = make_tokenizer()
END = cast(int, TOKENIZER.eos_token_id)
SIZE = len(TOKENIZER)


def make(constraint: Constraint) -> Guide:
    return asyncio.run(GuideMaker(TOKENIZER, {END}).make(constraint))


def names(guide: Guide) -> set[str]:
    return {TOKENIZER.decode([int(i)]) for i in guide.allowed(SIZE).nonzero()[0]}


def test_it_allows_what_may_follow_and_nothing_else() -> None:
    guide = make(Constraint("lark", 'start: "yes" | "yak" | "no"'))
    assert names(guide) == {"y", "n"}
    for said, following in (("y", {"e", "a"}), ("a", {"k"}), ("k", {"<|im_end|>"})):
        guide.push(TOKENIZER.encode(said)[0])
        assert names(guide) == following
    guide.push(END)


def test_a_token_that_does_not_fit_breaks_off() -> None:
    guide = make(Constraint("lark", 'start: "yes"'))
    guide.push(TOKENIZER.encode("n")[0])
    with pytest.raises(InvalidConstraint, match="cannot be followed"):
        guide.allowed(SIZE)


def test_more_and_fewer_tokens_than_the_tokenizer_has() -> None:
    guide = make(Constraint("lark", "start: /.*/"))
    assert guide.allowed(SIZE + 50)[SIZE:].sum() == 0
    assert guide.allowed(65).shape == (65,)


def test_a_tokenizer_that_cannot_be_constrained_is_told_when_asked() -> None:
    maker = GuideMaker(TOKENIZER, {10**9})

    async def scenario() -> None:
        await maker.prepare()
        await maker.make(Constraint("json"))

    with pytest.raises(InvalidConstraint):
        asyncio.run(scenario())


CHAINS = """
import json, sys
from tests.engines.test_guide import make, names
from liveweights.engines.protocol import Constraint, StringGrammar

def chain(letter, links):
    rules = [f"{letter}{i}: {letter}{i + 1}" for i in range(links)]
    return "\\n".join([f"start: {letter}0", *rules, f'{letter}{links}: "a"'])

links = 1400
definitions = {f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}]} for i in range(links)}
schema = {"$defs": {**definitions, f"d{links}": {"const": 7}}, "$ref": "#/$defs/d0"}
string = StringGrammar("input_0", '"', "lark", chain("r", 4500), "the grammar")
outer = 'start: input_0\\ninput_0: %json {"type": "string"}'
for about, constraint, first in (
    ("definitions", Constraint("json_schema", json.dumps(schema)), "7"),
    ("rules", Constraint("lark", chain("r", 4500)), "a"),
    ("terminals", Constraint("lark", chain("R", 4500)), "a"),
    ("a string's rules", Constraint("lark", outer, "it", (string,)), '"'),
):
    print(about, flush=True)
    assert names(make(constraint)) == {first}
"""


def test_a_long_chain_of_definitions_does_not_end_the_process() -> None:
    child = subprocess.run(
        [sys.executable, "-c", CHAINS], capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, (child.returncode, child.stdout, child.stderr)


def test_what_is_too_long_for_a_stack_is_refused() -> None:
    long = 'start: "a"' + " " * LONGEST
    with pytest.raises(InvalidConstraint, match=f"^it has {len(long)} characters"):
        make(Constraint("lark", long, "it"))
    inner = StringGrammar("input_0", '"', "lark", long, "the tool's")
    with pytest.raises(InvalidConstraint, match=r"^the tool's has"):
        make(Constraint("lark", 'start: "a"', "it", (inner,)))


def test_a_forced_token_waits_for_the_one_before() -> None:
    """The matcher is in one thread at a time."""

    class Matcher:
        busy = False

        def consume_token(self, token: int) -> None:
            assert not self.busy
            self.busy = True
            time.sleep(0.05)
            self.busy = False

        def compute_bitmask(self) -> bytes:
            return b"\xff" * (SIZE // 8 + 1)

        def is_error(self) -> bool:
            return False

        def is_accepting(self) -> bool:
            return True

    a, b = TOKENIZER.encode("ab")
    keeper = BudgetKeeper(ThinkingBudget(0, (a, b), "ab"), TOKENIZER.decode)
    with ThreadPoolExecutor(2) as masks:
        guide = Guide(Matcher(), frozenset({END}), masks, "it", thinking=keeper)
        for token in (a, b):
            assert guide.allowed(SIZE).nonzero()[0].tolist() == [token]
            guide.push(token)
        assert guide.allowed(SIZE).all()


@pytest.mark.parametrize("budget", [1, 2, 3, 4])
def test_a_budget_that_ends_within_a_character_lets_it_end(budget: int) -> None:
    parrot, end = TOKENIZER.encode("\U0001f99c"), TOKENIZER.encode("!")
    assert len(parrot) == 4
    thinking = ThinkingBudget(budget, tuple(end), "!")
    guide = make(Constraint("lark", 'start: /[^!]*/ "!" "yes"', "the schema", thinking=thinking))
    for token in (*parrot, *end):
        assert guide.allowed(SIZE)[token]
        guide.push(token)
    assert names(guide) == {"y"}


def test_it_does_not_let_more_than_a_character_be_written() -> None:
    half = TOKENIZER.encode("\U0001f99c")[:1]
    keeper = BudgetKeeper(ThinkingBudget(1, (7,), "!"), TOKENIZER.decode)
    forced = list[int | None]()
    for _ in range(5):
        forced.append(keeper.forced)
        keeper.push(half[0])
    assert forced == [None, None, None, None, 7]


@given(st.integers(1, 3), st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=20))
def test_the_shortest_is_next_and_no_place_is_lost(size: int, jobs: list[tuple[int, bool]]) -> None:
    async def scenario() -> None:
        line, order = ShortestFirst(size), []

        async def work(length: int) -> None:
            await line.enter(length)
            order.append(length)

        for _ in range(size):
            await line.enter(0)
        tasks = [asyncio.create_task(work(length)) for length, _ in jobs]
        await asyncio.sleep(0)
        for task, (_, leaves) in zip(tasks, jobs, strict=True):
            if leaves:
                task.cancel()
        await asyncio.sleep(0)
        kept = sorted(length for length, leaves in jobs if not leaves)
        for _ in kept:
            line.leave()
            await asyncio.sleep(0)
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
        assert order == kept
        for _ in range(size):  # those that are in
            line.leave()
        async with asyncio.timeout(5):
            for _ in range(size):
                await line.enter(0)

    asyncio.run(scenario())


def test_a_place_is_taken_until_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who leaves does not make room for another one while a thread still works for him."""
    maker = GuideMaker(TOKENIZER, {END})

    async def scenario() -> None:
        await maker.prepare()
        schema = {"enum": ["".join(random.choices(string.ascii_letters, k=40)) for _ in range(900)]}
        large = Constraint("json_schema", json.dumps(schema))
        for _ in range(20):
            asking = asyncio.create_task(maker.make(large))
            await asyncio.sleep(0)
            asking.cancel()
        assert maker._compiling._work_queue.qsize() <= 2  # type: ignore[attr-defined]
        async with asyncio.timeout(60):
            await maker.make(Constraint("json"))

    asyncio.run(scenario())


@pytest.mark.model
def test_what_takes_long_does_not_stop_the_event_loop(base: Checkpoint) -> None:
    """The tables are built before; then one long text takes seconds of masks."""
    tokenizer: Any = load_tokenizer(base)
    maker = GuideMaker(tokenizer, end_of_text_ids(base, tokenizer))
    text = "".join(random.Random(0).choices(string.ascii_letters, k=60_000))
    constraint = Constraint("json_schema", json.dumps({"enum": [text]}))

    async def scenario() -> None:
        await maker.prepare()
        turns = 0

        async def tick() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0.001)
                turns += 1

        ticking = asyncio.create_task(tick())
        guide = await maker.make(constraint)
        for token in tokenizer.encode(f'"{text[:12]}', add_special_tokens=False)[:4]:
            await guide.ready()
            before = turns
            guide.push(token)
            await guide.ready()
            guide.allowed(len(tokenizer))
            assert turns - before >= 2
        ticking.cancel()

    asyncio.run(scenario())
