from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from liveweights.serve.router import NotReady, Route, Router, UnknownModel, position
from liveweights.weights.checkpoint import Checkpoint

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


def test_a_checkpoint_is_sold_as_its_model() -> None:
    for router, older in ((Router(), "a"), (Router("m"), "m")):
        router.resident({"c@0"})
        router.set("a", "c@1", "c@2", 0.5)
        router.set("b", "c@3")
        asked = {"a": "a", "b": "b", "c@1": "a", "c@2": "a", "c@3": "b", "c@0": older}
        for model, sold in asked.items():
            with router.pin(model, None) as pin:
                assert (pin.alias, pin.sold) == (model, sold)
    beside = Router("m")
    beside.resident({"d@1"})
    with beside.pin("b", None, checkpoint="d@1") as pin:
        assert pin.sold == "b"


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
    with router.pin("code", None, checkpoint=LIVE) as pin:
        assert (pin.alias, pin.checkpoint) == ("code", LIVE)
        assert router.in_use(LIVE) == 1
    with pytest.raises(NotReady), router.pin("code", None, checkpoint=CANARY):
        pass


def own(live: str, canary: str | None = None, share: float = 0.0, tenant: str = "acme") -> Route:
    return Route(f"m:{tenant}", live, canary, share, 0, model="m", tenant=tenant)


def pinned(router: Router, tenant: str | None, model: str = "m", session: str = "s") -> str:
    with router.pin(model, session, tenant=tenant) as pin:
        assert pin.alias == model
        return pin.checkpoint


def test_a_tenant_is_answered_by_its_own_and_nobody_else_is() -> None:
    router = Router()
    router.set("m", "shared")
    router.set_branches([own("a"), own("b", tenant="bolt")])
    router.resident(["shared", "a", "b"])
    asked = {tenant: pinned(router, tenant) for tenant in ("acme", "bolt", "cord", None)}
    assert asked == {"acme": "a", "bolt": "b", "cord": "shared", None: "shared"}
    assert [route.name for route in router.routes()] == ["m"]


def test_a_tenants_canary_is_the_tenants() -> None:
    router = Router()
    router.set("m", "shared")
    router.set_branches([own("a", "a2", 0.5)])
    router.resident(["shared", "a", "a2"])
    sessions = [str(number) for number in range(200)]
    assert {pinned(router, "acme", session=one) for one in sessions} == {"a", "a2"}
    assert {pinned(router, "bolt", session=one) for one in sessions} == {"shared"}


def test_what_is_not_loaded_is_asked_for_once_and_the_shared_one_answers() -> None:
    router, woken = Router(), list[str]()
    router.wake = lambda: woken.append("now")
    router.set("m", "shared")
    router.set_branches([own("a"), own("b", tenant="bolt")])
    router.resident(["shared"])
    assert [pinned(router, "acme") for _ in range(3)] == ["shared"] * 3
    assert woken == ["now"]
    assert pinned(router, "bolt") == "shared"
    assert pinned(router, "acme") == "shared"
    assert router.recent() == [("m", "acme"), ("m", "bolt")]
    router.resident(["shared", "a"])
    assert pinned(router, "acme") == "a"
    router.resident(["shared"])
    assert pinned(router, "acme") == "shared"
    assert woken == ["now"] * 3  # once for each time that it went


def test_a_tenants_checkpoint_is_asked_for_by_id_by_nobody_else() -> None:
    router = Router()
    router.set("m", "shared")
    router.introduce(Checkpoint("a", "adapter", Path("/"), "shared"), tenant="acme")
    router.resident(["shared", "a"])
    assert pinned(router, "acme", "a") == "a"
    assert pinned(router, None, "a") == "a"  # the service itself, such as its gate
    with pytest.raises(UnknownModel):
        pinned(router, "bolt", "a")


def test_a_shadow_is_that_of_the_branch_that_answered() -> None:
    router = Router()
    router.set("m", "shared", "s2", 0.0, 1.0)
    branch = Route("m:acme", "a", "a2", 0.0, 0, 1.0, model="m", tenant="acme")
    router.set_branches([branch])
    router.resident(["shared", "s2", "a", "a2"])
    assert router.draw_shadow("m", "a", "acme") == "a2"
    assert router.draw_shadow("m", "shared", "bolt") == "s2"
    assert router.draw_shadow("m", "shared", "acme") == "s2"  # before its own was loaded


def test_who_has_a_branch_is_not_drawn_to_a_canary_on_another_base() -> None:
    router = Router()
    router.set("m", "shared", CANARY, 1.0, elsewhere=True)
    router.set_branches([own("a")])
    router.resident(["shared", "a"])
    assert router.draw_elsewhere("m", "s", "bolt") == CANARY
    assert router.draw_elsewhere("m", "s", "acme") is None
    assert pinned(router, "acme") == "a"
