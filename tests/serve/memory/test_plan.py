"""Who goes and who comes, where not all models may be in memory at once."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from liveweights.serve.memory.plan import Part, Plan, make_plan

BUDGET, PATIENCE, NOW = 100, 5.0, 1000.0


@st.composite
def memories(draw: st.DrawFn) -> list[Part]:
    """Parts that hold no more than the budget together."""
    left, parts = BUDGET, list[Part]()
    for number in range(draw(st.integers(1, 8))):
        held = draw(st.integers(0, left))
        left -= held
        pinned = draw(st.booleans()) and draw(st.booleans())
        parts.append(
            Part(
                name=f"m{number}",
                held=held,
                need=draw(st.one_of(st.just(0), st.integers(1, 130))),
                asked_at=NOW - draw(st.floats(0, 10)),
                used_at=NOW - draw(st.floats(0, 100)),
                pinned=pinned,
                kept=draw(st.booleans()),
                busy=draw(st.booleans()),
                leaving=not pinned and draw(st.booleans()),
                spare=draw(st.booleans()),
            )
        )
    return parts


def plan(*parts: Part, budget: int = BUDGET) -> Plan:
    return make_plan(parts, budget, now=NOW, patience=PATIENCE)


def asking(name: str, need: int, since: float = NOW, *, held: int = 0) -> Part:
    return Part(name=name, need=need, held=held, asked_at=since)


def test_what_fits_is_granted_at_once() -> None:
    assert plan(asking("a", 60), Part(name="b", held=40)) == Plan(grant=("a",))


def test_the_least_recently_used_idle_one_makes_room() -> None:
    old = Part(name="old", held=40, used_at=1.0)
    new = Part(name="new", held=40, used_at=2.0)
    oldest = Part(name="oldest", held=20, used_at=0.0, busy=True)
    assert plan(asking("a", 30), new, old, oldest) == Plan(unload=("old",))
    assert plan(asking("a", 60), new, old, oldest) == Plan(unload=("old", "new"))
    # Nothing is granted before they have left.
    assert plan(asking("a", 30), new, replace(old, leaving=True), oldest) == Plan()


def test_busy_ones_leave_once_somebody_has_waited_long() -> None:
    busy = Part(name="busy", held=90, busy=True)
    assert plan(asking("a", 30), busy) == Plan()
    assert plan(asking("a", 30, NOW - PATIENCE), busy) == Plan(unload=("busy",))


def test_who_asks_for_little_does_not_overtake() -> None:
    busy = Part(name="busy", held=90, busy=True)
    assert plan(asking("a", 30, NOW - 2), asking("b", 5, NOW - 1), busy) == Plan()
    assert plan(asking("a", 30, NOW - 1), asking("b", 5, NOW - 2), busy).grant == ("b",)


def test_who_cannot_have_it_even_alone_is_refused_and_keeps_nobody_waiting() -> None:
    pinned = Part(name="pinned", held=50, pinned=True)
    assert plan(asking("a", 51, NOW - 1), asking("b", 20), pinned) == Plan(("b",), (), ("a",))
    assert plan(asking("a", 31, held=20), pinned) == Plan((), (), ("a",))


def test_a_spare_need_makes_nobody_leave() -> None:
    other = Part(name="b", held=80)
    spare = replace(asking("a", 30), spare=True)
    assert plan(spare, other) == Plan(refuse=("a",))
    assert plan(replace(spare, need=20), other) == Plan(grant=("a",))


def test_what_has_grown_over_the_budget_makes_the_least_used_leave() -> None:
    grown = Part(name="grown", held=70, used_at=2.0)
    other = Part(name="other", held=40, used_at=1.0)
    assert plan(grown, other) == Plan(unload=("other",))
    assert plan(grown, replace(other, busy=True)) == Plan(unload=("grown",))


@given(memories())
def test_never_more_than_the_budget_is_held(parts: list[Part]) -> None:
    made = plan(*parts)
    held = {part.name: part.held for part in parts}
    for part in parts:
        if part.name in made.grant:
            held[part.name] += part.need
    assert sum(held.values()) <= BUDGET


@given(memories())
def test_nobody_is_told_to_unload_who_must_stay(parts: list[Part]) -> None:
    made = plan(*parts)
    named = {part.name: part for part in parts}
    assert not set(made.grant) & {*made.unload, *made.refuse}
    longest = min((p.asked_at for p in parts if p.need and not p.spare), default=NOW)
    for name in made.unload:
        part = named[name]
        assert part.held
        assert (part.pinned, part.kept, part.leaving) == (False, False, False)
        assert name not in made.grant
        assert not part.busy or NOW - longest >= PATIENCE
    for name in (*made.grant, *made.refuse):
        assert named[name].need


@given(memories())
def test_the_least_recently_used_leave_first(parts: list[Part]) -> None:
    made = plan(*parts)
    asked = {part.name for part in parts if part.need}
    stay = [
        part
        for part in parts
        if part.name not in {*made.unload, *asked}
        and part.held
        and not (part.pinned or part.kept or part.leaving)
    ]
    gone = [part for part in parts if part.name in made.unload and part.name not in asked]
    for one in gone:
        for other in stay:
            assert (one.busy, one.used_at) <= (other.busy, other.used_at)


@given(memories())
def test_everyone_gets_what_fits_in_the_end(parts: list[Part]) -> None:
    """When requests end and what was told to unload does."""
    parts = [replace(part, spare=False, kept=False, leaving=False) for part in parts]
    least = {
        part.name: part.need + part.held + sum(p.held for p in parts if p.pinned and p is not part)
        for part in parts
        if part.need
    }
    granted, refused, clock = set[str](), set[str](), NOW
    for _ in range(4 * len(parts)):
        made = make_plan(parts, BUDGET, now=clock, patience=PATIENCE)
        granted, refused = granted | {*made.grant}, refused | {*made.refuse}
        clock += PATIENCE
        after = list[Part]()
        for part in parts:
            if part.name in made.grant:
                # And it is asked for no more: what it was needed for is done by then.
                part = replace(part, held=part.held + part.need, need=0, busy=False)
            if part.name in made.refuse:
                part = replace(part, need=0)
            if part.name in made.unload:
                part = replace(part, held=0, busy=False)
            after.append(part)
        parts = after
        assert sum(part.held for part in parts) <= BUDGET
    assert not any(part.need for part in parts)
    assert {name for name, size in least.items() if size > BUDGET} <= refused
    assert granted | refused == least.keys()
