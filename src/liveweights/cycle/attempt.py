"""How the next cycle differs from those that came to nothing. Pure.

A cycle whose candidate was not released leaves its rows unread. Taken again with the same settings
they would come to the same, so each end says what the next one changes: the size of the step
(halved after harm, doubled again where none was seen), the seed, or what it waits for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from liveweights.cycle.ledger import Cycle
from liveweights.gate.settings import GateSettings
from liveweights.gate.statistics import Difference, cases_needed
from liveweights.learn.settings import LearnSettings

LEAST_STEP = 1 / 32
"""Smallest factor on the step."""
LONGEST_PAUSE = 64
"""Largest factor on the pause after cycles that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What the next cycle does otherwise.

    ``step`` is a factor on the step sizes and on ``learn.kl_target``, ``seed`` is added to the
    seed, ``pause`` is a factor on ``cycle.rest``, and ``wanted`` is how many answers with new
    feedback it waits for, where that is no reason to begin before its time; with ``follow_ups``
    chat answers that a next message came after count, too. ``why`` says so in one sentence, empty
    where nothing differs.
    """

    step: float = 1.0
    seed: int = 0
    pause: int = 1
    wanted: int = 0
    follow_ups: bool = False
    why: str = ""

    def change(self, learn: LearnSettings) -> LearnSettings:
        """The settings that the update takes."""
        return msgspec.structs.replace(
            learn,
            learning_rate=learn.learning_rate * self.step,
            full_learning_rate=learn.full_learning_rate * self.step,
            kl_target=learn.kl_target * self.step,
            seed=learn.seed + self.seed,
        )


def plan(past: Sequence[Cycle], learn: LearnSettings, gate: GateSettings) -> Attempt:
    """From the last cycles of an alias, newest first."""
    last = next((cycle for cycle in past if cycle.outcome not in (None, "restarted")), None)
    if last is None:
        return Attempt()
    step = 1.0
    for cycle in reversed(past):
        if did_harm(cycle):
            step = max(LEAST_STEP, step / 2)
        elif is_harmless(cycle):
            step = min(1.0, step * 2)
    failed = _count(past, lambda cycle: cycle.outcome == "failed")
    unreleased = _count(past, lambda cycle: cycle.outcome != "promoted" or cycle.withdrawn)
    wanted = count_wanted(last, learn, gate)
    follow_ups = wanted > 0 and counts_follow_ups(last)
    new = "new feedback or a next message" if follow_ups else "new feedback"
    changes = [
        f"a step {step:g} times as large as set" if step < 1 else "",
        f"another order of the rows (seed {learn.seed + unreleased})" if unreleased else "",
        f"{wanted} answers with {new}" if wanted else "",
        f"a pause {min(2**failed, LONGEST_PAUSE)} times as long" if failed else "",
    ]
    told = ", ".join(change for change in changes if change)
    return Attempt(
        step=step,
        seed=unreleased,
        pause=min(2**failed, LONGEST_PAUSE),
        wanted=wanted,
        follow_ups=follow_ups,
        why=f"cycle {last.id} ended as {_name(last)}: the next takes {told}" if told else "",
    )


def did_harm(cycle: Cycle) -> bool:
    """Whether a candidate was shown to be worse, or taken back from everyone."""
    if cycle.outcome == "promoted":
        return cycle.withdrawn
    if cycle.outcome == "rolled_back":
        known = cycle.canary or {}
        broken = any(guard.get("broken") for guard in known.get("guards", ()))
        return bool(known.get("proven")) or broken
    return cycle.outcome == "rejected" and (cycle.verdict or {}).get("outcome") == "FAIL"


def is_harmless(cycle: Cycle) -> bool:
    """Whether a candidate was measured, and no harm was seen."""
    if cycle.outcome == "promoted":
        return not cycle.withdrawn
    return (cycle.verdict or {}).get("outcome") == "INCONCLUSIVE"


def count_wanted(last: Cycle, learn: LearnSettings, gate: GateSettings) -> int:
    """Answers with new feedback without which the gate would be short of cases again; 0 where
    nothing was short."""
    verdict: dict[str, Any] = last.verdict or {}
    if last.outcome != "rejected" or verdict.get("outcome") != "INCONCLUSIVE":
        return 0
    short = max(
        (
            _shortage(msgspec.convert(measured, Difference), gate, effect)
            for name, effect in (("reward", gate.smallest_effect), ("likelihood", None))
            if (measured := verdict.get("evidence", {}).get(name)) is not None
        ),
        default=gate.min_cases,
    )
    return math.ceil(short / learn.held_back_share)


def counts_follow_ups(last: Cycle) -> bool:
    """Whether what follows in a chat is as good a reason for the next cycle as a reaction: where
    nobody had said of any held-back answer what it should have been. Who only chats never does,
    and is learnt from all the same. Where some reactions were there, more of them are needed."""
    evidence: dict[str, Any] = (last.verdict or {}).get("evidence", {})
    return all(evidence.get(name) is None for name in ("reward", "likelihood", "untold"))


def _shortage(measured: Difference, gate: GateSettings, effect: float | None) -> int:
    """Cases that are missing, if each new one is like those that were seen."""
    share = max(measured.changed, 1) / measured.cases
    needed = max(
        gate.min_cases,
        measured.cases + gate.min_sessions - measured.sessions,
        math.ceil(gate.min_changed / share),
    )
    if effect is not None and needed <= measured.cases:
        # So many are asked at most: more would not be looked at.
        needed = min(cases_needed(measured, effect, gate.power) or 0, gate.cases)
    return max(0, needed - measured.cases)


def _count(past: Sequence[Cycle], is_one: Callable[[Cycle], bool]) -> int:
    """How many of the newest in a row, those aside that were restarted or are open."""
    number = 0
    for cycle in past:
        if cycle.outcome in (None, "restarted"):
            continue
        if not is_one(cycle):
            break
        number += 1
    return number


def _name(cycle: Cycle) -> str:
    verdict = (cycle.verdict or {}).get("outcome")
    if cycle.outcome == "rejected" and verdict in ("FAIL", "INCONCLUSIVE"):
        return verdict
    return "withdrawn" if cycle.withdrawn else str(cycle.outcome).replace("_", " ")
