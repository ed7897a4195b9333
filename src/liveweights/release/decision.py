"""Where a promotion is decided: what happens next with a candidate, and why. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from liveweights.release.canary import CanaryNumbers, Comparison
from liveweights.release.guards import Guard
from liveweights.release.rollout import Action, IllegalMove, Move, Rollout
from liveweights.release.settings import CanarySettings


@dataclass(frozen=True, slots=True)
class Look:
    """What is known now.

    ``comparison`` is of rewards since the first session was on the canary. ``step_rewards`` and
    ``step_seconds`` count in this step only; during the shadow ``step_rewards`` are its answers.
    ``unservable`` says why no instance can load the candidate, None where one does or may.
    """

    comparison: Comparison
    guards: tuple[Guard, ...] = ()
    step_rewards: int = 0
    step_seconds: float = 0.0
    unservable: str | None = None


def decide(rollout: Rollout, look: Look, settings: CanarySettings) -> Move:
    """What happens by itself. Raises IllegalMove once the candidate has ended.

    Proven harm ends it at once, held or not. A held candidate does nothing else. A shadow becomes
    a canary, and a canary takes the next step, when the step is done or "not worse" is proven;
    from the last step proof promotes. The limit decides wherever it is reached.
    """
    if rollout.ended:
        raise IllegalMove(f"the candidate was {rollout.stage}")
    numbers = look.comparison.numbers
    compared = f"after {numbers.comparisons} comparisons (needs {numbers.needed:g})"

    # Harm.
    if look.unservable is not None:
        return Move("rollback", f"it cannot be served: {look.unservable}")
    broken = [guard.describe() for guard in look.guards if guard.broken]
    if broken:
        return Move("rollback", "; ".join(broken))
    if look.comparison.proof == "worse":
        return Move("rollback", f"worse than live: e-value {numbers.worse:.3g} {compared}")

    # Nobody sees it, or somebody holds it.
    if rollout.held:
        return Move("wait", "held")
    if rollout.stage == "shadow":
        enough = look.step_rewards >= settings.shadow_answers
        if enough or look.step_seconds >= settings.shadow_seconds:
            return Move("step", f"{look.step_rewards} answers in the shadow kept within bounds")
        return Move("wait", "in the shadow")

    # Proof.
    last = rollout.step >= len(settings.steps) - 1
    if look.comparison.proof == "not worse":
        return Move(
            "promote" if last else "step",
            f"not worse than live by {settings.margin:g}: e-value {numbers.not_worse:.3g}"
            f" {compared}",
        )

    # The limit.
    if look.comparison.at_limit:
        if numbers.canary_rewards < settings.min_rewards or numbers.difference is None:
            return Move(
                "rollback",
                f"limit reached with {numbers.canary_rewards} rewards of the canary and"
                f" {numbers.live_rewards} of live; at least {settings.min_rewards} of the canary"
                " and one of live are needed",
            )
        if settings.at_limit == "abort":
            return Move("rollback", "limit reached without proof that the canary is not worse")
        if numbers.difference < -settings.margin:
            return Move(
                "rollback",
                f"limit reached with a mean difference of {numbers.difference:+.4f};"
                f" {-settings.margin:g} is allowed",
            )
        return Move(
            "promote",
            f"limit reached without evidence of harm: mean difference {numbers.difference:+.4f},"
            f" e-value for worse {numbers.worse:.3g} (needs {numbers.needed:g})",
        )

    # The next step.
    longest = settings.max_seconds / len(settings.steps)
    enough = look.step_rewards >= settings.step_rewards
    done = enough and look.step_seconds >= settings.step_seconds
    if not last and (done or look.step_seconds >= longest):
        return Move("step", f"no harm in {look.step_rewards} rewards of this step")
    return Move("wait", _waits_for(look, settings, last=last, longest=longest))


def _waits_for(look: Look, settings: CanarySettings, *, last: bool, longest: float) -> str:
    numbers = look.comparison.numbers
    if last:
        return (
            f"nothing is proven yet: {numbers.comparisons} comparisons;"
            f" it is decided with {settings.max_rewards} rewards of the canary"
            f" (now {numbers.canary_rewards}), after {settings.max_seconds:g} s with"
            f" {settings.min_rewards}, or after {settings.longest_seconds:g} s"
        )
    return (
        f"this step ends with {settings.step_rewards} rewards of the canary"
        f" (now {look.step_rewards}) after {settings.step_seconds:g} s"
        f" (now {look.step_seconds:.0f}), at latest after {longest:g} s"
    )


Outcome = Literal["PROMOTE", "ROLLBACK", "CONTINUE"]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What rewards alone come to, why, and with which numbers: stored with the releases that a
    look makes."""

    action: Outcome
    reason: str
    numbers: CanaryNumbers
    proven: bool = False
    """Whether evidence decided, rather than the limit."""


def decide_by_rewards(comparison: Comparison, settings: CanarySettings) -> Decision:
    """What happens to a candidate on its last step that keeps within all bounds."""
    last = Rollout("canary", len(settings.steps) - 1)
    move = decide(last, Look(comparison), settings)
    outcomes: dict[Action, Outcome] = {"promote": "PROMOTE", "rollback": "ROLLBACK"}
    return Decision(
        action=outcomes.get(move.action, "CONTINUE"),
        reason=move.reason,
        numbers=comparison.numbers,
        proven=comparison.proof is not None,
    )
