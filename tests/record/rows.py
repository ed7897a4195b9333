"""Rows to record."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation

START = datetime(2026, 1, 1, tzinfo=UTC)


def make_generation(id: str, **changes: Any) -> Generation:
    number = sum(map(ord, id))
    values: dict[str, Any] = {
        "id": id,
        "created_at": START + timedelta(milliseconds=number),
        "alias": "live",
        "checkpoint": "base@000000000000",
        "endpoint": "completion",
        "prompt_ids": [1, 2, number],
        "output_ids": [4, 5],
        "logprobs": [-0.5, -0.25],
        "raw_logprobs": [-1.5, -2.5],
        "output": "x = 1",
        "finish_reason": "stop",
        "temperature": 0.5,
        "top_p": 1.0,
        "seed": 7,
        "max_tokens": 16,
        "user": "ada",
        "session": None,
        "metadata": {"file": "a.py"},
    }
    return Generation(**{**values, **changes})


_seconds = itertools.count()


def make_feedback(id: str, generation: str, **changes: Any) -> Feedback:
    values: dict[str, Any] = {
        "id": id,
        "generation": generation,
        "signal": "accepted",
        "received_at": START + timedelta(days=1, seconds=next(_seconds)),
    }
    return Feedback(**{**values, **changes})
