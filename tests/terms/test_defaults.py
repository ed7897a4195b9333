"""What licences say, asked of models of the catalogue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.terms.models import DAY

from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.licences import Duty
from liveweights.terms.decision import Decision, Question
from liveweights.terms.evaluation import evaluate
from liveweights.terms.facts import Facts, Origin, facts_of, unknown_facts
from liveweights.terms.rules import ACTIONS, Action, Conditions, Rule

KNOWN = Catalogue()
MODELS = {card.hub_id: facts_of(KNOWN, card) for card in KNOWN.cards.values()}
NON_COMMERCIAL = "MiniMaxAI/MiniMax-M2.7"
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
APACHE = "HuggingFaceTB/SmolLM2-135M-Instruct"


def ask(model: Facts, action: Action, **members: str) -> Decision:
    return evaluate((), model, Question(action=action, day=DAY, **members))  # type: ignore[arg-type]


def by(decision: Decision) -> str | None:
    return decision.decided_by.rule if decision.decided_by else None


@pytest.mark.parametrize("action", ["route", "learn", "release"])
def test_no_commercial_use_of_what_forbids_it(action: Action) -> None:
    model = MODELS[NON_COMMERCIAL]
    denied = ask(model, action, purpose="commercial")
    assert (denied.outcome, by(denied)) == ("deny", "non-commercial")
    assert "non-commercial in licence LicenseRef-MiniMax-M2.7-NonCommercial" in str(
        denied.decided_by
    )
    assert ask(model, action, purpose="research").outcome != "deny"
    unsaid = ask(model, action)
    assert (unsaid.outcome, by(unsaid)) == ("warn", "non-commercial-purpose")


def test_a_contract_of_ones_own_is_a_rule_that_allows() -> None:
    contract = Rule(
        name="contract",
        on=Conditions(model=(NON_COMMERCIAL,), tenant=("acme",)),
        then="allow",
        reason="contract 17 with MiniMax",
    )
    paid = Question(action="route", day=DAY, tenant="acme", purpose="commercial")
    decision = evaluate([contract], MODELS[NON_COMMERCIAL], paid)
    assert (decision.outcome, by(decision)) == ("allow", "contract")
    assert 'With permission, show "Built with MiniMax M2.7".' in decision.notices


@pytest.mark.parametrize("action", ["load", "route", "release"])
def test_a_name_that_is_to_be_shown_is_a_notice(action: Action) -> None:
    shown = ask(MODELS[LLAMA], action).notices
    assert any('Show "Built with Llama" prominently' in text for text in shown)
    kimi = ask(MODELS["moonshotai/Kimi-K2.5"], action).notices
    assert any('show "Kimi K2.5"' in text and "100,000,000" in text for text in kimi)
    assert not [text for text in ask(MODELS[APACHE], action).notices if "how" in text]


def test_whoever_forbids_it_is_not_learnt_from_by_others() -> None:
    duty = Duty(kind="output-training", text="Answers must not train other models.")
    own = Origin(name="x/closed", licence="LicenseRef-X", licence_kind="restricted", duties=(duty,))
    model = Facts(name="big", origins=(own,))
    denied = ask(model, "learn", learner="another")
    assert (denied.outcome, by(denied)) == ("deny", "output-training")
    assert ask(model, "learn").outcome == "allow"
    assert ask(model, "route").outcome == "allow"


def test_a_licence_with_terms_for_learning_from_answers_is_no_ban() -> None:
    llama = ask(MODELS[LLAMA], "learn", learner="another")
    assert (llama.outcome, by(llama)) == ("warn", "output-training-terms")
    assert any('starts with "Llama"' in text for text in llama.notices)
    free = next(one for one in MODELS.values() if one.origins[0].licence == "OpenMDW-1.1")
    assert ask(free, "learn", learner="another").outcome == "allow"


@pytest.mark.parametrize("action", ACTIONS)
def test_an_unknown_licence_is_a_warning(action: Action) -> None:
    decision = ask(unknown_facts("mine"), action)
    assert (decision.outcome, by(decision)) == ("warn", "unknown-licence")


@pytest.mark.parametrize("action", ["load", "export", "release"])
def test_thresholds_and_regions_are_warnings(action: Action) -> None:
    mistral = ask(MODELS["mistralai/Mistral-Medium-3.5-128B"], action)
    assert (mistral.outcome, by(mistral)) == ("warn", "thresholds")
    llama = next(one for id, one in MODELS.items() if "Llama-4" in id)
    assert {"thresholds", "region"} <= {one.rule for one in ask(llama, action).matched}


def test_the_packaged_model_may_be_used_for_anything() -> None:
    for action in ACTIONS:
        decision = ask(MODELS[APACHE], action, purpose="commercial", learner="itself")
        assert decision.outcome == "allow"
    assert any("licence text" in text for text in ask(MODELS[APACHE], "export").notices)


@given(st.sampled_from(sorted(MODELS)), st.sampled_from(ACTIONS))
def test_open_licences_are_never_denied(name: str, action: Action) -> None:
    model = MODELS[name]
    if all(origin.licence_kind == "open" for origin in model.origins):
        assert ask(model, action, purpose="commercial", learner="itself").outcome == "allow"
