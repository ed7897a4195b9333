from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch
from tests.learn.families import make_config

from liveweights.catalog.routers import Choices, find_routers, stack

IDS = torch.tensor([[1, 5, 9, 200, 33]])


def make(family: str) -> Any:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(make_config(family)).eval()


@pytest.mark.parametrize(
    ("family", "layers"),
    [("llama", []), ("mixtral", [0, 1]), ("deepseek_v3", [1]), ("nemotron_h", [1, 3])],
)
def test_routers_are_found_with_their_layers(family: str, layers: list[int]) -> None:
    assert [layer for layer, _ in find_routers(make(family))] == layers


@torch.no_grad()
def test_what_a_model_and_its_copies_choose_is_heard_where_it_is_asked_for() -> None:
    model = make("mixtral")
    choices = Choices(model)
    twin = copy.deepcopy(model)
    model(IDS)
    for one in (model, twin):
        with choices.recorded() as heard:
            elsewhere = threading.Thread(target=model, args=(IDS,))
            elsewhere.start()
            elsewhere.join()
            out = one(IDS, output_router_logits=True)
        chosen_NLK = stack(heard)
        assert chosen_NLK.shape == (5, 2, 2)
        expected = [scores.topk(2).indices for scores in out.router_logits]
        assert torch.equal(chosen_NLK.long(), torch.stack(expected, dim=1))
