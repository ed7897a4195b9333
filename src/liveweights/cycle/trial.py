"""A cycle that learns nothing: it judges a candidate that was brought, as it would its own."""

from __future__ import annotations

from typing import Literal

import msgspec

from liveweights.cycle.ledger import Cycle
from liveweights.gate.verdict import Verdict

Need = Literal["better", "no harm"]


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What a candidate that was brought has to show, and why it was."""

    needs: Need
    reason: str

    def passes(self, verdict: Verdict) -> bool:
        """Whether the verdict is good enough."""
        return verdict.outcome == "PASS" or (
            self.needs == "no harm" and verdict.outcome == "INCONCLUSIVE"
        )


def read_trial(cycle: Cycle) -> Trial | None:
    """What the cycle tries; None for one that learns."""
    told = (cycle.learning or {}).get("trial")
    return None if told is None else msgspec.convert(told, Trial)


def note_trial(trial: Trial) -> dict[str, object]:
    """The beginning of ``Cycle.learning`` of a cycle that tries a candidate."""
    return {"trial": msgspec.to_builtins(trial)}


def recomputes(cycle: Cycle) -> int | None:
    """The cycle that it was computed anew for, without the rows of a user; None for any other."""
    return (cycle.learning or {}).get("recomputes")
