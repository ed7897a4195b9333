"""Runs and results, made up."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from liveweights.scoreboard.results import Conditions, Result, Run, Scored


def conditions(**changes: Any) -> Conditions:
    values: dict[str, Any] = {
        "suite": "letters", "version": "1", "content": "c", "harness": "questions", "samples": 1,
        "seconds": 60.0, "temperature": 0.0, "max_tokens": 16, "seed": 0, "cases": 4,
        "runner": "liveweights 0",
    }  # fmt: skip
    return Conditions(**values | changes)


def run(model: str = "code", checkpoint: str | None = "code@1", **changes: Any) -> Run:
    return Run(
        model=model,
        checkpoint=checkpoint,
        conditions=conditions(**changes),
        hardware="a processor",
    )


def results(scores: list[float], **more: Any) -> list[Result]:
    return [Result(case=f"c{i}", score=score, **more) for i, score in enumerate(scores)]


def scored(model: str, scores: list[float], number: int = 1, **changes: Any) -> Scored:
    more = {
        name: changes.pop(name)
        for name in ("nanos", "seconds_each", "group", "detail")
        if name in changes
    }
    listed = results(
        scores,
        group=more.get("group"),
        nanos=more.get("nanos"),
        seconds=more.get("seconds_each"),
        prompt_tokens=10,
        completion_tokens=2,
        detail=more.get("detail", ""),
    )
    checkpoint = changes.pop("checkpoint", f"{model}@1")
    return Scored(
        id=number,
        run=run(model, checkpoint, **{"cases": len(scores)} | changes),
        created_at=datetime(2026, 11, 1, number, tzinfo=UTC),
        currency="EUR",
        results={(one.case, one.sample): one for one in listed},
    )
