"""Two of forty users vote the other way round, eight times as often as everybody else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.learn.world import World, make_base

from liveweights.learn.settings import LearnSettings

HONEST, ADVERSARIES, VOTES, LOUDER, CYCLES = 38, 2, 12, 8, 4
MARGIN = 0.03
"""How much of their mean reward honest users may lose to the adversaries."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("toy"))


def honest_reward(base: Path, *, adversaries: int, guards: bool) -> float:
    off = {} if guards else {"user_share": 1.0, "outlier_distance": 1e9}
    settings = LearnSettings(rank=8, learning_rate=5e-3, nodes=64, silence_weight=0.0, **off)
    world = World(base, settings)
    for _ in range(CYCLES):
        examples = [e for n in range(HONEST) for e in world.ask(f"honest-{n}", VOTES)]
        for n in range(adversaries):
            examples += world.ask(f"adversary-{n}", VOTES * LOUDER, honest=False)
        world.turn(examples)
    return world.reward()


def test_honest_users_hardly_notice_adversaries(base: Path) -> None:
    start = World(base, LearnSettings()).reward()
    clean = honest_reward(base, adversaries=0, guards=True)
    guarded = honest_reward(base, adversaries=ADVERSARIES, guards=True)
    bare = honest_reward(base, adversaries=ADVERSARIES, guards=False)
    print(f"start {start:+.3f} clean {clean:+.3f} guarded {guarded:+.3f} unguarded {bare:+.3f}")
    assert clean > start + 0.1
    assert guarded > clean - MARGIN
    assert bare < clean - 2 * MARGIN
