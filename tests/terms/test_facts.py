"""Whose a model is, back to what it was made from."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.filters import UNKNOWN
from liveweights.terms.decision import Question
from liveweights.terms.evaluation import evaluate
from liveweights.terms.facts import Origin, facts_of, unknown_facts
from liveweights.terms.rules import Conditions, Rule

OWN = """
[[licences]]
id = "LicenseRef-Mine"
name = "Mine"
osi_approved = true
duties = [{ kind = "notice", text = "Say so." }]

[[models]]
hub_id = "mine/tuned"
name = "Tuned"
maker = "Me"
country = "DE"
licence = "LicenseRef-Mine"
base = "moonshotai/Kimi-K2.5"
context = 4096

[[models]]
hub_id = "mine/far"
name = "Far"
licence = "LicenseRef-Mine"
duties = [{ kind = "non-commercial", text = "Not for money." }]
base = "deepseek-ai/Some-Model-Without-A-Card"

[[models]]
hub_id = "mine/nowhere"
name = "Nowhere"
base = "nobody/knows"

[[models]]
hub_id = "mine/near"
name = "Near"
base = "mine/not-listed"
"""


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    home: Path = tmp_path_factory.mktemp("home")
    (home / "catalogue").mkdir()
    (home / "catalogue" / "own.toml").write_text(OWN)
    return Catalogue(home)


def test_a_fine_tune_is_also_of_whose_model_it_was_made(known: Catalogue) -> None:
    facts = facts_of(known, known.find("mine/tuned"), "code")
    assert (facts.name, facts.context) == ("code", 4096)
    mine, base, *_ = facts.origins
    assert (mine.maker, mine.country, mine.licence_kind) == ("Me", "DE", "open")
    assert (base.name, base.maker, base.country) == ("moonshotai/Kimi-K2.5", "Moonshot AI", "CN")
    assert base.licence_kind == "restricted"
    assert any('"Kimi K2.5"' in duty.text for duty in base.duties)


def test_one_name_is_to_be_shown_under_one_licence(known: Catalogue) -> None:
    facts = facts_of(known, known.find("moonshotai/Kimi-K2.7-Code"))
    texts = [
        duty.text for one in facts.origins for duty in one.duties if duty.kind == "display-name"
    ]
    assert len(texts) > 1
    assert len(set(texts)) == 1
    assert "Kimi K2.7 Code" in texts[0]


def test_a_base_without_a_card_is_of_its_organisation(known: Catalogue) -> None:
    facts = facts_of(known, known.find("mine/far"))
    assert facts.name == "mine/far"
    far, base = facts.origins
    assert far.licence_kind == "non-commercial"
    assert (base.maker, base.country) == ("DeepSeek", "CN")
    assert (base.licence, base.licence_kind, base.duties) == (UNKNOWN, UNKNOWN, ())
    nowhere = facts_of(known, known.find("mine/nowhere")).origins
    assert (nowhere[1].name, nowhere[1].maker, nowhere[1].country) == (
        "nobody/knows",
        *[UNKNOWN] * 2,
    )
    assert len(facts_of(known, known.find("mine/near")).origins) == 1


def test_a_licence_that_is_not_known_is_denied_where_a_rule_says_so(known: Catalogue) -> None:
    conditions = Conditions(licence_kind=("unknown",))
    rule = Rule(name="only-known", on=conditions, then="deny", reason="unknown")
    route = Question(action="route", day=datetime.date(2026, 11, 29))
    far = evaluate([rule], facts_of(known, known.find("mine/far")), route)
    assert far.outcome == "deny"
    tuned = evaluate([rule], facts_of(known, known.find("mine/tuned")), route)
    assert tuned.outcome != "deny"


def test_whose_base_it_is_is_known_whatever_the_case_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "catalogue").mkdir()
    for base in ("moonshotai/Kimi-K2.5", "MoonshotAI/kimi-k2.5"):
        card = f'[[models]]\nhub_id = "mine/x"\nname = "X"\nlicence = "MIT"\nbase = "{base}"\n'
        (tmp_path / "catalogue" / "own.toml").write_text(card)
        again = Catalogue(tmp_path)
        _, origin = facts_of(again, again.find("mine/x")).origins
        assert (origin.name, origin.country) == ("moonshotai/Kimi-K2.5", "CN")
        assert origin.duties


def test_what_is_not_known_is_said(known: Catalogue) -> None:
    assert unknown_facts("it").origins == (Origin(name="it"),)
    assert unknown_facts("it").origins[0].licence_kind == "unknown"
    (near,) = facts_of(known, known.find("mine/near")).origins
    assert (near.licence, near.licence_kind, near.maker) == (UNKNOWN, "unknown", UNKNOWN)


def test_every_card_has_facts(known: Catalogue) -> None:
    kinds = set[str]()
    for card in known.cards.values():
        facts = facts_of(known, card)
        assert facts.origins[0].name == card.hub_id
        kinds |= {origin.licence_kind for origin in facts.origins}
    assert kinds == {"open", "restricted", "non-commercial", "unknown"}
