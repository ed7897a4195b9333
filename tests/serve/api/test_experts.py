"""Answers of a mixture of experts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from liveweights.engines.experts import Experts
from liveweights.serve.api.settings import ApiSettings

from .doubles import Api, make_api
from .test_silence import UNSURE, api_with


def with_experts(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    generate = api.engine.generate

    async def routed(checkpoint: str, prompt_ids: list[int], sampling: Any) -> Any:
        count = 0
        async for token in generate(checkpoint, prompt_ids, sampling):
            count += 1
            if token.stop:
                chosen = np.full((count, 2, 2), 3, np.int16)
                token = replace(token, experts=Experts(len(prompt_ids) - 1, chosen))
            yield token

    monkeypatch.setattr(api.engine, "generate", routed)


@pytest.mark.parametrize("stream", [False, True])
def test_the_experts_that_served_it_are_recorded(
    stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = make_api("hi")
    with_experts(api, monkeypatch)
    assert api.complete(stream=stream).status == 200
    row = api.recorder.only()
    assert row.experts is not None
    experts = Experts.from_bytes(row.experts)
    assert experts.serves(len(row.prompt_ids), len(row.output_ids))
    assert experts.chosen.shape == (4, 2, 2)


def test_an_answer_that_was_given_up_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    api = api_with(UNSURE)
    with_experts(api, monkeypatch)
    assert api.complete(silence=True, temperature=0).status == 200
    assert api.recorder.only().withheld
    assert api.recorder.only().experts is None


def test_without_consent_they_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    api = make_api("hi", settings=ApiSettings(consent=False))
    with_experts(api, monkeypatch)
    api.complete()
    assert api.recorder.only().experts is None


def test_a_dense_model_has_none() -> None:
    api = make_api("hi")
    api.complete()
    assert api.recorder.only().experts is None
