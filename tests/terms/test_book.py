"""Decisions that are kept are those that would be made."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.terms.models import DAY, facts, named, overrides, questions

from liveweights.terms import book as module
from liveweights.terms.book import Book
from liveweights.terms.decision import Override, Question
from liveweights.terms.evaluation import evaluate
from liveweights.terms.facts import Facts, unknown_facts
from liveweights.terms.rules import Rule


@given(
    own=named("own"),
    ours=named("default"),
    models=st.lists(facts, min_size=1, max_size=3),
    asked=st.lists(questions, min_size=1, max_size=4),
    over=overrides,
)
def test_a_decision_is_what_evaluating_gives(
    own: list[Rule],
    ours: list[Rule],
    models: list[Facts],
    asked: list[Question],
    over: list[Override],
) -> None:
    names = ("code", "other", "third")
    them = [replace(model, name=names[number]) for number, model in enumerate(models)]
    book = Book(them, own, overrides=over, defaults=ours)
    for question in asked * 2:
        made = {m.name: evaluate(own, m, question, overrides=over, defaults=ours) for m in them}
        assert {m.name: book.decide(m.name, question) for m in them} == made
        denied = book.denied(question)
        assert [bool(denied >> n & 1) for n in range(len(them))] == [
            one.outcome == "deny" for one in made.values()
        ]
        assert denied < 1 << len(them)


def test_no_more_is_kept_than_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    no = Rule(name="no", then="deny", reason="x")
    book = Book([unknown_facts("code")], [no])
    for number in range(10):
        question = Question(action="route", day=DAY, tenant=f"tenant-{number}")
        assert book.decide("code", question).outcome == "deny"
        assert book.denied(question) == 1
    assert len(book._decisions) <= 3
    assert len(book._denied) <= 3
    with pytest.raises(KeyError):
        book.decide("nobody", Question(action="route", day=DAY))
