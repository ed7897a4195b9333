from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from liveweights.serve.router import NotReady, Router, UnknownModel, position

NAMES = st.text(min_size=1, max_size=20)
LIVE, CANARY = "old@000000000000", "new@000000000000"


def checkpoint_of(router: Router, model: str, session: str | None) -> str:
    with router.pin(model, session) as pin:
        return pin.checkpoint


@settings(deadline=None)
@given(NAMES, st.floats(0, 1))
def test_a_session_sticks(session: str, share: float) -> None:
    router = Router()
    router.set("m", "a", "b", share)
    assert len({checkpoint_of(router, "m", session) for _ in range(3)}) == 1


@settings(deadline=None)
@given(st.floats(0, 1), st.integers(0, 2**32))
def test_the_share_is_respected(share: float, seed: int) -> None:
    router = Router()
    router.set("m", "a", "b", share)
    chosen = sum(checkpoint_of(router, "m", f"{seed}-{i}") == "b" for i in range(2000))
    # Five standard deviations of a binomial.
    assert abs(chosen - 2000 * share) <= 5 * (2000 * share * (1 - share)) ** 0.5 + 1


@settings(deadline=None)
@given(NAMES, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_share_keeps_who_is_in(session: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    router = Router()
    router.set("m", "a", "b", low)
    if checkpoint_of(router, "m", session) == "b":
        router.set("m", "a", "b", high)
        assert checkpoint_of(router, "m", session) == "b"


def test_without_a_session_the_side_is_drawn() -> None:
    router = Router()
    router.set("m", "a", "b", 0.5)
    assert {checkpoint_of(router, "m", None) for _ in range(200)} == {"a", "b"}


def test_shares_of_zero_and_one_are_exact() -> None:
    router = Router()
    for share, expected in ((0.0, "a"), (1.0, "b")):
        router.set("m", "a", "b", share)
        for session in (None, *map(str, range(200))):
            assert checkpoint_of(router, "m", session) == expected


def test_position_is_the_same_in_every_process() -> None:
    code = "from liveweights.serve.router import position; print(position('m', 'c@1', 'é'))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(told.stdout) == position("m", "c@1", "é")


def test_a_new_canary_meets_new_sessions() -> None:
    first = {i for i in range(500) if position("m", "c@1", str(i)) < 0.2}
    second = {i for i in range(500) if position("m", "c@2", str(i)) < 0.2}
    assert first != second


def test_resident_checkpoints_answer_to_their_id() -> None:
    router = Router()
    router.resident(["c@1"])
    with router.pin("c@1", None) as pin:
        assert (pin.alias, pin.checkpoint) == ("c@1", "c@1")
    with pytest.raises(UnknownModel), router.pin("c@2", None):
        pass


def test_a_canary_that_cannot_answer_is_passed_over() -> None:
    router = Router()
    router.set("m", "a", "b", 1.0)
    router.resident(["a"])
    assert checkpoint_of(router, "m", "s") == "a"
    router.resident([])
    with pytest.raises(NotReady, match="a"):
        checkpoint_of(router, "m", "s")


def test_removed_aliases_are_unknown() -> None:
    router = Router()
    router.set("m", "a")
    router.remove("m")
    router.remove("m")
    with pytest.raises(UnknownModel):
        checkpoint_of(router, "m", None)


def test_refuses_a_share_outside_its_range() -> None:
    with pytest.raises(ValueError, match="share"):
        Router().set("m", "a", "b", 1.5)


def test_a_pin_outlives_a_swap() -> None:
    router = Router()
    router.set("m", "a")
    with router.pin("m", None) as pin:
        router.set("m", "b")
        router.resident(["b"])
        assert pin.checkpoint == "a"
        assert router.in_use("a") == 1
        assert checkpoint_of(router, "m", None) == "b"
    assert router.in_use("a") == 0


def test_drained_fires_exactly_at_zero() -> None:
    async def scenario() -> None:
        router = Router()
        router.set("m", "a")
        with ExitStack() as first, ExitStack() as second:
            first.enter_context(router.pin("m", None))
            second.enter_context(router.pin("m", None))
            waiters = [asyncio.create_task(router.drained("a")) for _ in range(2)]
            given_up = asyncio.create_task(router.drained("a"))
            await asyncio.sleep(0)
            given_up.cancel()
            first.close()
            await asyncio.sleep(0.01)
            assert not any(waiter.done() for waiter in waiters)
            second.close()
            await asyncio.gather(*waiters)
        await router.drained("a")
        await router.drained("never seen")

    asyncio.run(scenario())


def test_drained_waits_on_when_it_is_pinned_again_before_it_wakes() -> None:
    async def scenario() -> None:
        router = Router()
        router.set("m", "a")
        context = router.pin("m", None)
        context.__enter__()
        waiter = asyncio.create_task(router.drained("a"))
        await asyncio.sleep(0)
        context.__exit__(None, None, None)
        with router.pin("m", None):
            await asyncio.sleep(0.01)
            assert not waiter.done()
        await waiter

    asyncio.run(scenario())


class Counting(RuleBasedStateMachine):
    """References are counted as a plain list would count them."""

    def __init__(self) -> None:
        super().__init__()
        self.router = Router()
        self.router.set("m", "a", "b", 0.5)
        self.held: list[tuple[str, ExitStack]] = []

    @rule(session=st.one_of(st.none(), NAMES))
    def pin(self, session: str | None) -> None:
        stack = ExitStack()
        pin = stack.enter_context(self.router.pin("m", session))
        self.held.append((pin.checkpoint, stack))

    @rule(place=st.integers(0, 100))
    def release(self, place: int) -> None:
        if self.held:
            self.held.pop(place % len(self.held))[1].close()

    @rule()
    def fail_while_pinned(self) -> None:
        with pytest.raises(ZeroDivisionError), self.router.pin("m", None):
            raise ZeroDivisionError

    @rule(live=st.sampled_from("ab"))
    def swap(self, live: str) -> None:
        self.router.set("m", live)

    @invariant()
    def counts_agree(self) -> None:
        for checkpoint in "ab":
            expected = sum(held == checkpoint for held, _ in self.held)
            assert self.router.in_use(checkpoint) == expected


TestCounting = Counting.TestCase


def test_a_share_of_answers_is_drawn_for_each_whatever_its_session() -> None:
    router = Router()
    router.set("m", "a", "b", 0.5, by_answer=True)
    assert {checkpoint_of(router, "m", "the only one") for _ in range(200)} == {"a", "b"}


def test_a_canary_on_another_base_is_another_routers() -> None:
    router = Router()
    router.set("code", LIVE, CANARY, 0.5, elsewhere=True)
    assert not router.ready(CANARY)
    sessions = [f"s{number}" for number in range(200)]
    drawn = [router.draw_elsewhere("code", session) for session in sessions]
    assert set(drawn) == {CANARY, None}
    assert drawn == [router.draw_elsewhere("code", session) for session in sessions]
    for session in sessions:
        with router.pin("code", session) as pin:
            assert pin.checkpoint == LIVE
    router.set("code", LIVE, CANARY, 0.5)
    assert {router.draw_elsewhere("code", session) for session in sessions} == {None}
    router.set("code", LIVE, CANARY, 0.0, 1.0, elsewhere=True)
    assert router.draw_shadow("code", LIVE) == CANARY
    assert router.draw_shadow("code", CANARY) is None


def test_a_checkpoint_that_is_meant_is_held_if_it_is_there() -> None:
    router = Router()
    router.set("code", LIVE)
    with router.pin("code", None, LIVE) as pin:
        assert (pin.alias, pin.checkpoint) == ("code", LIVE)
        assert router.in_use(LIVE) == 1
    with pytest.raises(NotReady), router.pin("code", None, CANARY):
        pass
