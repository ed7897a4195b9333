from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.learn.voters import SOMEBODY

from liveweights.learn.policy import Policy
from liveweights.learn.reference import PART, Reference, find_reference
from liveweights.learn.rows import Role, Row
from liveweights.learn.settings import LearnSettings
from liveweights.learn.tree import TokenRow

NODES = 64
LONG = 40
"""Tokens of a prompt of which no two fit into one pack."""


@pytest.fixture(scope="module")
def policy(tiny: Path) -> Policy:
    return Policy(tiny, None, LearnSettings())


def prompt(number: int) -> list[int]:
    return [(number + place) % 64 for place in range(LONG)]


def computed(policy: Policy, number: int, answer: list[int]) -> torch.Tensor:
    return policy.score([TokenRow(prompt(number), answer)], [1.0], NODES)[0]


def make_row(
    policy: Policy, number: int, *, role: Role = "policy", off: float = 0.0, fresh: bool = True
) -> Row:
    """A row whose recorded log-probabilities are ``off`` from those of the policy."""
    answer = [number % 64, 3]
    recorded = (computed(policy, number, answer) + off).tolist() if role == "policy" else []
    return Row(role, "g", "s", SOMEBODY, prompt(number), answer, 0.5, recorded, 1.0, fresh=fresh)


def find(policy: Policy, rows: list[Row], **settings: Any) -> Reference:
    paths = [TokenRow(row.prompt_ids, row.answer_ids) for row in rows]
    return find_reference(policy, rows, paths, LearnSettings(nodes=NODES, **settings))


def test_what_the_incumbent_served_is_taken_as_recorded(policy: Policy) -> None:
    rows = [make_row(policy, n, off=0.01) for n in range(2 * PART)]
    found = find(policy, rows)
    assert sorted(found.scored) == [0, PART]
    assert found.mismatch == pytest.approx(0.01, abs=1e-4)
    assert found.ratio == pytest.approx(0.990, abs=1e-3)
    for n, row in enumerate(rows):
        wanted = computed(policy, n, row.answer_ids) if n % PART == 0 else row.behaviour
        assert torch.allclose(found.logprobs[n], torch.as_tensor(wanted), atol=1e-5)


def test_all_are_computed_where_server_and_trainer_differ(policy: Policy) -> None:
    rows = [make_row(policy, n, off=0.7 if n == 0 else 0.0) for n in range(PART + 2)]
    found = find(policy, rows, max_mismatch=0.3)
    assert sorted(found.scored) == list(range(PART + 2))
    assert found.mismatch == pytest.approx(0.7 / (PART + 2), abs=1e-4)
    for n, row in enumerate(rows):
        assert torch.allclose(found.logprobs[n], computed(policy, n, row.answer_ids), atol=1e-4)


def test_what_is_not_on_record_is_computed_if_it_is_needed(policy: Policy) -> None:
    rows = [
        make_row(policy, 0, fresh=False, off=1.0),
        make_row(policy, 1, role="preference"),
        make_row(policy, 2, role="correction"),
    ]
    found = find(policy, rows)
    assert sorted(found.scored) == sorted(found.logprobs) == [0, 1]
    assert found.mismatch is None  # of no answer of the incumbent
    assert found.ratio == pytest.approx(0.368, abs=1e-3)


def test_nothing_to_compute_is_no_pass(policy: Policy) -> None:
    found = find(policy, [make_row(policy, 0, role="correction")])
    assert (found.scored, found.logprobs, found.mismatch, found.ratio) == ({}, {}, None, 1.0)
