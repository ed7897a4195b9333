"""What every updater does, said in tests. A module that tests one inherits the class and gives
the fixtures ``settings`` and ``base`` (a folder of whole weights)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.learn.voters import SOMEBODY

from liveweights.learn.policy import Policy
from liveweights.learn.rows import Row
from liveweights.learn.settings import LearnSettings
from liveweights.learn.tree import TokenRow
from liveweights.learn.update import update
from liveweights.weights.delta import apply, is_delta

SHOWN = [
    TokenRow(list(range(1, 20)), [5, 6, 7]),
    TokenRow(list(range(1, 24)), [9, 6, 7]),
    TokenRow([40, 41, 42], [43, 44]),
]


def rows() -> list[Row]:
    return [
        Row("correction", "g", "s", SOMEBODY, list(p.prompt_ids), list(p.answer_ids), 1.0, [], 1.0)
        for p in SHOWN
    ]


def scores(policy: Policy) -> torch.Tensor:
    return torch.cat(policy.score(SHOWN, [1.0] * len(SHOWN), 64))


def learn(policy: Policy, settings: LearnSettings) -> None:
    update(policy, rows(), settings)
    policy.finish()


class UpdaterConformance:
    def test_it_starts_as_the_base(self, base: Path, settings: LearnSettings) -> None:
        policy = Policy(base, None, settings)
        with policy.base():
            plain_T = scores(policy)
        assert torch.equal(scores(policy), plain_T)

    def test_it_learns_and_moves_nothing_else(self, base: Path, settings: LearnSettings) -> None:
        policy = Policy(base, None, settings)
        moved = {id(p) for p in policy.parameters()}
        assert moved
        rest = {n: p.clone() for n, p in policy.model.named_parameters() if id(p) not in moved}
        before_T = scores(policy)
        learn(policy, settings)
        assert float(scores(policy).mean()) > float(before_T.mean()) + 0.01
        for name, weight in policy.model.named_parameters():
            if name in rest:
                assert torch.equal(weight, rest[name]), name
        assert not any(
            "gate.weight" in n for n, p in policy.model.named_parameters() if id(p) in moved
        )

    def test_the_base_is_there_and_goes_again(self, base: Path, settings: LearnSettings) -> None:
        policy = Policy(base, None, settings)
        plain_T = scores(policy)
        learn(policy, settings)
        ours_T = scores(policy)
        with policy.base():
            assert torch.equal(scores(policy), plain_T)
        assert torch.equal(scores(policy), ours_T)

    def test_what_is_saved_computes_the_same_and_goes_on(
        self, base: Path, settings: LearnSettings, tmp_path: Path
    ) -> None:
        policy = Policy(base, None, settings)
        learn(policy, settings)
        policy.save(tmp_path / "first")
        again = reopen(base, tmp_path / "first", settings)
        assert torch.equal(scores(again), scores(policy))
        learn(again, settings)
        assert float(scores(again).mean()) > float(scores(policy).mean())

    def test_its_kind_is_what_it_saves(
        self, base: Path, settings: LearnSettings, tmp_path: Path
    ) -> None:
        policy = Policy(base, None, settings)
        learn(policy, settings)
        policy.save(tmp_path / "made")
        adapter = (tmp_path / "made" / "adapter_config.json").is_file()
        assert policy.updater.kind == ("adapter" if adapter else "full")
        assert adapter != is_delta(tmp_path / "made")


def reopen(base: Path, saved: Path, settings: LearnSettings) -> Policy:
    """The next cycle's policy, from what a cycle saved."""
    if not is_delta(saved):
        return Policy(base, saved, settings)
    apply(base, saved, saved.with_name(f"{saved.name}-whole"))
    return Policy(saved.with_name(f"{saved.name}-whole"), None, settings)


@pytest.fixture(scope="session")
def moe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny mixture of experts, with a dense layer, in bfloat16 as such models are stored."""
    from tests.learn.families import make_family

    return make_family("deepseek_v3", tmp_path_factory.mktemp("moe"), torch.bfloat16)
