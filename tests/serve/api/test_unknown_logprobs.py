"""Answers of engines that do not say their log-probabilities."""

from __future__ import annotations

from dataclasses import replace

import pytest

from .doubles import make_api


def test_they_are_recorded_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    api = make_api("hi")
    generate = api.engine.generate

    async def silent(*request: object) -> object:
        async for token in generate(*request):  # type: ignore[arg-type]
            yield replace(token, logprob=float("nan"), raw_logprob=float("nan"))

    monkeypatch.setattr(api.engine, "generate", silent)
    answer = api.complete(logprobs=0).json()
    assert set(answer["choices"][0]["logprobs"]["token_logprobs"]) == {None}
    row = api.recorder.only()
    assert len(row.output_ids) == 4
    assert (row.logprobs, row.raw_logprobs) == ([], [])
