"""Which setting would help where a candidate did not pass."""

from __future__ import annotations

from collections.abc import Sequence

from liveweights.gate.settings import GateSettings
from liveweights.gate.verdict import Cause


def advise(causes: Sequence[Cause], settings: GateSettings) -> list[str]:
    """One sentence for each kind of cause, in the order of the causes."""
    return [_advise(cause, settings) for cause in dict.fromkeys(causes)]


def _advise(cause: Cause, settings: GateSettings) -> str:
    match cause:
        case "drift":
            return "a smaller learn.kl_target or learn.learning_rate keeps an update nearer"
        case "reward" | "offpolicy" | "likelihood":
            return "a smaller learn.kl_target makes a smaller step; `cycle --show` says what taught"
        case "accepted":
            return (
                f"learn.silence_weight below what it is withholds less;"
                f" gate.keep_accepted ({settings.keep_accepted:g}) is the bound"
            )
        case "habits":
            return "a smaller learn.kl_target moves habits less; their bounds are gate.max_*"
        case "suites":
            return (
                "a smaller learn.kl_target forgets less; gate.margins says what loss is no harm,"
                " gate.suite_cases and gate.episode_seconds how many cases are asked"
            )
        case "cases":
            return (
                f"more answers that users react to, or a larger learn.held_back_share; an interval"
                f" is drawn from gate.min_cases ({settings.min_cases}) on"
            )
        case "sessions":
            return (
                f"more sessions: requests name theirs in metadata.session; an interval is drawn"
                f" from gate.min_sessions ({settings.min_sessions}) on"
            )
        case "changes":
            return (
                f"a larger learn.kl_target or learn.learning_rate changes more answers; at least"
                f" gate.min_changed ({settings.min_changed}) are to differ"
            )
        case "effect":
            return (
                f"more held-back answers (learn.held_back_share, and gate.cases, now"
                f" {settings.cases}), or a larger step (learn.kl_target)"
            )
        case "answers":
            return (
                f"gate.cases ({settings.cases}) above gate.min_answers ({settings.min_answers}),"
                " and as many prompts held back, of completions or of chats that were answered here"
            )
        case "untold":
            return (
                "feedback of both kinds: `accepted` where an answer was taken, `rejected` where it"
                " was not, and what users wrote instead as `correction`"
            )
        case "unmeasured":
            return "more answers that users react to: none of what was held back could be measured"
