from __future__ import annotations

import html
from datetime import UTC, datetime

from liveweights.release.audience import Audience
from liveweights.release.facts import COLUMNS, list_facts
from liveweights.release.page import to_html, to_markdown
from liveweights.release.scorecard import Entry, Scorecard, Segment, Side

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def side(reward: float | None, accepted: float | None) -> Side:
    return Side(
        answers=10, rewards=9, sessions=4, reward=reward, accepted=accepted, silent=0.1, seconds=0.2
    )


CARD = Scorecard(
    checkpoint="a@1",
    alias="code",
    parent="p@1",
    incumbent="i@1",
    created_at=NOW,
    cycle=3,
    outcome="rolled_back",
    reason="errors",
    withdrawn=False,
    improved="no",
    summary="worse",
    gate={"outcome": "PASS", "reasons": ["better", "no drift"]},
    live=(
        Segment(
            dimension="language",
            value="cobol",
            candidate=side(0.5, 0.7),
            incumbent=side(None, None),
            confidence=0.95,
        ),
    ),
    guards=(
        {"name": "errors", "live": 0.1, "canary": 0.5, "bound": "2%", "broken": True},
        {"name": "latency", "live": None, "canary": 0.2, "bound": "twice", "broken": False},
    ),
    exposed=Audience(answers=3, sessions=2, users=1),
    evidence={
        "learnt_from": 30, "judged_on": 20, "feedback": 60,
        "signals": {"rejected": 20, "accepted": 40},
    },
    cost={"cycle_seconds": 3.25},
    releases=(
        Entry(
            alias="code",
            action="canary",
            checkpoint="a@1",
            previous=None,
            share=0.1,
            reason="the gate",
            at=NOW,
        ),
    ),
)  # fmt: skip


def test_both_forms_say_every_fact() -> None:
    facts = list_facts(CARD)
    told = [fact.text for fact in (*facts.evidence, *facts.cost, *facts.history)]
    assert {"accepted: 40", "rejected: 20", "gate: PASS: better; no drift"} <= set(told)
    told += [value for _, value in facts.about] + [cell for row in facts.live for cell in row]
    for text in (to_markdown(CARD), html.unescape(to_html(CARD))):
        for fact in (*told, *COLUMNS):
            assert fact in text


def test_a_broken_bound_stands_out() -> None:
    facts = list_facts(CARD)
    assert [fact.text for fact in facts.evidence if fact.broken] == [
        "errors: 0.1 live, 0.5 canary; 2%"
    ]
    assert "2%: **broken**" in to_markdown(CARD)
    assert '<li class="no">errors: 0.1 live' in to_html(CARD)


def test_figures_that_are_not_there_are_dashes() -> None:
    assert list_facts(CARD).live == (
        ("language cobol", "not compared", "not shown", "0.5, 70% accepted", "-", "9 and 9",
         "4 and 4"),
    )  # fmt: skip
