from __future__ import annotations

import asyncio
from pathlib import Path

from tests.gate.suites.doubles import always
from tests.record.rows import make_feedback, make_generation

from liveweights.gate.suites.heldback import open_heldback, read_cases
from liveweights.gate.suites.journal import Head, Journal
from liveweights.gate.suites.questions import Questions
from liveweights.gate.suites.run import Plan, run_suite
from liveweights.learn.rewards import RewardMap
from liveweights.record.example import Example


def example(id: str, *feedback: dict[str, object], **changes: object) -> Example:
    rows = [make_feedback(f"{id}{n}", id, **row) for n, row in enumerate(feedback)]
    return Example(make_generation(id, **changes), tuple(rows))


def open_suite(*examples: Example) -> Questions:
    return open_heldback(read_cases(examples, RewardMap()))


def test_known_completions_become_cases_that_a_session_groups() -> None:
    suite = open_suite(
        example("a", {"signal": "accepted"}, session="s", healed="x ", output="x = 1"),
        example("b", {"signal": "correction", "text": "y\nz"}, session="s", max_tokens=2),
        example("c", {"signal": "rejected"}),
        example("d", {"signal": "accepted"}, endpoint="chat"),
        example("e", {"signal": "accepted"}, {"signal": "edited", "text": ""}),
        example(
            "f", {"signal": "accepted"}, prompt_ids=[], prompt='{"prompt": "a", "suffix": "b"}'
        ),
    )
    first, second = suite.cases()
    assert (first.id, first.group, first.stop, first.max_tokens) == ("a", "default/s", ["\n"], 16)
    assert (second.id, second.stop, second.max_tokens) == ("b", [], 8)
    measured = asyncio.run(
        run_suite(suite, always("new", "x x = 1  "), always("old", "y\nz"), Plan())
    )
    assert (measured.candidate, measured.incumbent) == ([1.0, 0.0], [0.0, 1.0])
    assert measured.groups == ["default/s", "default/s"]


def test_of_users_cases_only_scores_are_kept(tmp_path: Path) -> None:
    suite = open_suite(*(example(id, {"signal": "accepted"}, output=f"said {id}") for id in "ab"))
    head = Head(
        suite="held-back", version="1", content="", candidate="new", incumbent="old", seed=0
    )
    journal = Journal(tmp_path / "held-back.jsonl", head)
    new, old = always("new", "said a"), always("old", "said b")
    asyncio.run(run_suite(suite, new, old, Plan(), journal=journal))
    assert "said" not in (tmp_path / "held-back.jsonl").read_text()
    kept = journal.read()
    assert {case: pair.candidate.score for (case, _), pair in kept.items()} == {"a": 1.0, "b": 0.0}
    again = asyncio.run(run_suite(suite, new, old, Plan(), journal=journal))
    assert (again.candidate, again.incumbent) == ([1.0, 0.0], [0.0, 1.0])
    assert len(new.asked) == 2
