"""Two of forty users vote the other way round, eight times as often as everybody else: under
their own names, or under as many as they like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.learn.world import World, make_base

from liveweights.learn.settings import LearnSettings
from liveweights.record.example import Example

HONEST, ADVERSARIES, VOTES, LOUDER, CYCLES = 38, 2, 12, 8, 4
MARGIN = 0.03
"""How much of their mean reward honest users may lose to the adversaries."""
Attack = Callable[[World, int], list[Example]]


def nobody(world: World, cycle: int) -> list[Example]:
    return []


def loud(world: World, cycle: int) -> list[Example]:
    """Under one name each."""
    return [
        example
        for n in range(ADVERSARIES)
        for example in world.ask(f"adversary-{n}", VOTES * LOUDER, honest=False)
    ]


def fresh(world: World, cycle: int) -> list[Example]:
    """The same votes, each under a name that was never seen before."""
    return [
        example
        for n in range(ADVERSARIES * VOTES * LOUDER)
        for example in world.ask(f"fresh-{cycle}-{n}", 1, honest=False)
    ]


def anonymous(world: World, cycle: int) -> list[Example]:
    """The same votes without a name."""
    count = ADVERSARIES * VOTES * LOUDER
    return [e for _ in range(count) for e in world.ask(None, 1, honest=False)]


def disguised(world: World, cycle: int) -> list[Example]:
    """The same votes under new names in every cycle, each voting as often as an honest user; from
    the second on, for in the first everybody is new."""
    return [
        example
        for n in range(ADVERSARIES * LOUDER if cycle else 0)
        for example in world.ask(f"sybil-{cycle}-{n}", VOTES, honest=False)
    ]


def persistent(world: World, cycle: int) -> list[Example]:
    """The same under names that stay: what was left out makes nobody known."""
    return [
        example
        for n in range(ADVERSARIES * LOUDER if cycle else 0)
        for example in world.ask(f"sybil-{n}", VOTES, honest=False)
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def clean(base: Path) -> float:
    """What honest users come to among themselves."""
    return honest_reward(base, nobody)


def honest_reward(base: Path, attack: Attack, *, guards: bool = True) -> float:
    bare = {"user_share": 1.0, "new_share": 1.0, "outlier_distance": 1e6}
    off = {} if guards else bare
    settings = LearnSettings(rank=8, learning_rate=5e-3, nodes=64, silence_weight=0.0, **off)
    world = World(base, settings)
    for cycle in range(CYCLES):
        examples = [e for n in range(HONEST) for e in world.ask(f"honest-{n}", VOTES)]
        world.turn([*examples, *attack(world, cycle)])
    return world.reward()


def test_honest_users_come_to_what_they_want(base: Path, clean: float) -> None:
    start = World(base, LearnSettings()).reward()
    print(f"start {start:+.3f} clean {clean:+.3f}")
    assert clean > start + 0.1


@pytest.mark.parametrize("attack", [loud, fresh, anonymous, disguised, persistent])
def test_honest_users_hardly_notice_adversaries(base: Path, clean: float, attack: Attack) -> None:
    guarded = honest_reward(base, attack)
    print(f"{attack.__name__}: clean {clean:+.3f} guarded {guarded:+.3f}")
    assert guarded > clean - MARGIN


@pytest.mark.parametrize("attack", [loud, fresh])
def test_without_guards_they_do(base: Path, clean: float, attack: Attack) -> None:
    bare = honest_reward(base, attack, guards=False)
    print(f"{attack.__name__}: clean {clean:+.3f} unguarded {bare:+.3f}")
    assert bare < clean - 2 * MARGIN
