"""Simulated releases, through the gate and the canary that decide real ones."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from bench._releases import (
    BETTER,
    EQUAL,
    GATE,
    LIVE_ONLY,
    WORSE,
    Kind,
    canary,
    cases_in_theory,
    looks,
    looks_in_theory,
    release,
)

from liveweights.release.settings import CanarySettings

NO_SUITES = msgspec.structs.replace(GATE, suites=())


def test_equal_candidates_pass_at_most_at_the_nominal_rate() -> None:
    rng = np.random.default_rng(0)
    passed = sum(release(rng, EQUAL, 200, NO_SUITES).outcome == "PASS" for _ in range(200))
    nominal = (1 - GATE.confidence) / 2
    assert passed / 200 <= nominal + 2 * (nominal * (1 - nominal) / 200) ** 0.5


def test_a_better_candidate_is_found_from_the_theoretical_number_of_cases() -> None:
    rng = np.random.default_rng(1)
    cases = cases_in_theory(BETTER)
    found = sum(release(rng, BETTER, cases, NO_SUITES).outcome == "PASS" for _ in range(30))
    assert 18 <= found <= 30  # 80% of 30, and three standard errors


def test_an_e_value_needs_not_many_more_cases_than_one_that_knew_the_chances() -> None:
    rng = np.random.default_rng(2)
    clear = Kind("clear", wins=0.15, losses=0.05)
    needed = [looks(rng, clear, 0.05, 20_000) for _ in range(200)]
    assert None not in needed
    mean = float(np.mean([n for n in needed if n]))
    assert 0.8 <= mean / looks_in_theory(clear, 0.05) <= 2.5


@pytest.mark.parametrize("kind", WORSE, ids=lambda kind: kind.name)
def test_worse_candidates_do_not_pass(kind: Kind) -> None:
    rng = np.random.default_rng(3)
    verdicts = [release(rng, kind, 300) for _ in range(20)]
    assert not any(verdict.outcome == "PASS" for verdict in verdicts)
    assert sum(verdict.outcome == "FAIL" for verdict in verdicts) >= 18


def test_what_shows_only_with_users_is_taken_back_by_the_canary() -> None:
    rng = np.random.default_rng(4)
    assert release(rng, LIVE_ONLY, 300).outcome == "PASS"
    settings = CanarySettings(lowest=-0.25, highest=0.75, max_seconds=1e9)
    settings = msgspec.structs.replace(settings, unit="reward", max_rewards=10_000)
    results = [canary(rng, LIVE_ONLY, settings, 4000) for _ in range(2)]
    assert [action for action, _ in results] == ["ROLLBACK"] * 2
    assert max(exposed for _, exposed in results) < 400
