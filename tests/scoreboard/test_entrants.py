from __future__ import annotations

import pytest

from liveweights.scoreboard.entrants import Counter, Entrant, Pricing


def test_a_price_is_of_a_million_tokens_and_exact() -> None:
    entrant = Entrant("a", pricing=Pricing(0.15, 0.6, "EUR"))
    assert entrant.cost(1_000_000, 0) == 150_000_000
    assert entrant.cost(3, 1) == 1_050
    assert entrant.currency == "EUR"


@pytest.mark.parametrize("pricing", [None, Pricing(), Pricing(input=0.1)])
def test_without_a_price_the_cost_is_not_known(pricing: Pricing | None) -> None:
    assert Entrant("a", pricing=pricing).cost(10, 10) is None


def test_requests_and_thought_have_their_prices() -> None:
    entrant = Entrant("a", pricing=Pricing(0.0, 2.0, reasoning=8.0, request=0.01))
    counter = Counter()
    thought = {"completion_tokens_details": {"reasoning_tokens": 100}}
    counter.add({"prompt_tokens": 3, "completion_tokens": 150} | thought)
    counter.add({"prompt_tokens": 3, "completion_tokens": 50})
    assert counter.cost(entrant) == 20_000_000 + 100 * 2_000 + 100 * 8_000
    assert Entrant("a", pricing=Pricing(1.0, 2.0)).cost(0, 10, 10) == 20_000
    assert Entrant("a", pricing=Pricing(0.0, 0.0, request=0.01)).is_priced
    assert Entrant("a", pricing=Pricing(0.0, 0.0, reasoning=0.1)).is_priced


@pytest.mark.parametrize("pricing", [None, Pricing(), Pricing(input=0.0)])
def test_a_hosted_model_without_a_whole_price_may_cost_something(pricing: Pricing | None) -> None:
    assert Entrant("a", pricing=pricing, data={"sent_to": "api.example.com"}).is_priced
    assert not Entrant("a", pricing=pricing).is_priced
    free = Pricing(0.0, 0.0)
    assert not Entrant("a", pricing=free, data={"sent_to": "api.example.com"}).is_priced


def test_hosted_is_what_is_sent_elsewhere() -> None:
    assert Entrant("a", data={"sent_to": "api.example.com"}).hosted
    assert not Entrant("a", data={"sent_to": None}).hosted
    assert not Entrant("a").hosted


def test_a_local_model_is_asked_by_its_checkpoint() -> None:
    local = Entrant("code", "code@1", owned_by="liveweights")
    assert (local.asked, local.held) == ("code@1", "code@1")
    for elsewhere in (Entrant("big", "big@1", owned_by="hosted"), Entrant("big", "big@1")):
        assert (elsewhere.asked, elsewhere.held) == ("big", None)


def test_tokens_add_up_until_one_is_not_known() -> None:
    counter = Counter()
    counter.add({"prompt_tokens": 3, "completion_tokens": 2})
    counter.add({"prompt_tokens": 5, "completion_tokens": 1})
    assert (counter.prompt, counter.completion) == (8, 3)
    counter.add({})
    counter.add({"prompt_tokens": 5, "completion_tokens": 1})
    assert (counter.prompt, counter.completion) == (None, None)
