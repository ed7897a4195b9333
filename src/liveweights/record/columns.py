"""Generations and feedback as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from liveweights.record.binary import COLUMNS
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation

GENERATION = COLUMNS[: COLUMNS.index("day")]
"""Columns of the table ``generations`` that are of a ``Generation``."""

FEEDBACK = ("tenant", "id", "generation", "signal", "value", "text", "received_at", "episode")
"""Columns of the table ``feedback`` that are of a ``Feedback``."""


def generation_from(row: Sequence[Any]) -> Generation:
    """The row as it was recorded, up to the precision of float4."""
    names = ("user" if name == "user_id" else name for name in GENERATION)
    return Generation(**dict(zip(names, row, strict=True)))


def feedback_row(f: Feedback) -> tuple[object, ...]:
    return tuple(getattr(f, name) for name in FEEDBACK)


def feedback_from(row: Sequence[Any]) -> Feedback:
    return Feedback(**dict(zip(FEEDBACK, row, strict=True)))
