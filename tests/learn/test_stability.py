"""Twenty cycles in a row, each on answers of the last one's policy."""

from __future__ import annotations

from pathlib import Path

from tests.learn.world import World, make_base

from liveweights.learn.settings import LearnSettings


def test_twenty_cycles_do_not_collapse(tmp_path: Path) -> None:
    settings = LearnSettings(rank=8, learning_rate=2e-3, nodes=64)
    world = World(make_base(tmp_path / "toy"), settings)
    rewards, start = [world.reward()], world.entropy()
    for _ in range(20):
        examples = [e for n in range(12) for e in world.ask(f"user-{n}", 12)]
        world.turn(examples)
        rewards.append(world.reward())
    print([round(r, 3) for r in rewards], start, world.entropy(), world.silence())
    assert rewards[-1] > rewards[0] + 0.1
    # Sampling noise of one cycle aside, nothing that was reached is lost again.
    assert rewards[-1] > max(rewards) - 0.05
    assert world.silence() < 0.9
    assert world.entropy() > 0.05 * start
