from __future__ import annotations

import asyncio

import pytest

from liveweights.gate.sandbox import Sandbox
from liveweights.gate.suites.polyglot import EXERCISES, LANGUAGES, Polyglot, missing, read_cases
from liveweights.gate.suites.suite import Attempt

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"needs {missing()}")
SOLVED = {
    "sum/python": "import sys\nprint(sum(int(line) for line in sys.stdin))",
    "sum/bash": 'total=0; while read -r n; do total=$((total + n)); done; echo "$total"',
    "sum/awk": "{ total += $1 } END { print total }",
    "sum/perl": "my $t = 0; while (<STDIN>) { $t += $_ } print \"$t\\n\";",
    "fizzbuzz/awk": '{ for (i = 1; i <= $1; i++) { s = (i % 3 ? "" : "Fizz") (i % 5 ? "" : "Buzz");'
    " print s == \"\" ? i : s } }",
    "last/perl": 'while (<STDIN>) { my @w = split; print "$w[-1]\\n" }',
}  # fmt: skip


def check(sandbox: Sandbox, case: str, answer: str) -> Attempt:
    cases = {one.id: one for one in read_cases()}
    return asyncio.run(Polyglot(sandbox, []).check(cases[case], answer))


def test_every_exercise_is_asked_in_every_language() -> None:
    cases = read_cases()
    assert cases == read_cases()
    assert len({case.id for case in cases}) == len(EXERCISES) * len(LANGUAGES)
    assert {case.group for case in cases} == {name for name, *_ in EXERCISES}
    assert all(lines and expected for case in cases for lines, expected in case.target[:1])


@pytest.mark.parametrize("case", SOLVED)
def test_right_programs_pass(sandbox: Sandbox, case: str) -> None:
    language = case.rpartition("/")[2]
    assert check(sandbox, case, f"Here it is:\n```{language}\n{SOLVED[case]}\n```").score == 1.0
    assert check(sandbox, case, SOLVED[case]).score == 1.0


@pytest.mark.parametrize("program", ["print(1)\0", f"print({'1' * 140_000})"])
@pytest.mark.parametrize("language", [language.lower() for language in LANGUAGES])
def test_what_cannot_be_an_argument_is_no_program(
    sandbox: Sandbox, language: str, program: str
) -> None:
    """As of a model that has collapsed: the gate goes on."""
    attempt = check(sandbox, f"sum/{language}", program)
    assert (attempt.score, attempt.detail) == (0.0, "no program: NUL, or too long")


@pytest.mark.parametrize(
    ("case", "program", "why"),
    [
        ("sum/python", "print(7)", "another output"),
        ("sum/python", "import os; os._exit(3)", "failed"),
        ("sum/bash", "while true; do :; done", "time"),
        ("upper/bash", "cat", "another output"),
        ("sum/awk", "{ total +=", ""),
        ("sum/perl", "", "another output"),
    ],
)
def test_wrong_ones_fail(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, case: str, program: str, why: str
) -> None:
    import msgspec

    from liveweights.gate.suites import polyglot

    monkeypatch.setattr(polyglot, "LIMITS", msgspec.structs.replace(polyglot.LIMITS, seconds=2))
    attempt = check(sandbox, case, program)
    assert attempt.score == 0.0
    assert why in attempt.detail
