"""What a scorecard says, in words: the one list that its Markdown and its page are made of."""

from __future__ import annotations

from dataclasses import dataclass

from liveweights.release.claim import say
from liveweights.release.scorecard import Entry, Scorecard, Segment, Side

COLUMNS = (
    "segment", "difference of mean reward", "improved", "canary", "live", "rewards", "sessions",
)  # fmt: skip
"""Of ``Facts.live``."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A sentence; ``broken`` where it says that a bound was."""

    text: str
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """``live`` has a row of COLUMNS per segment."""

    about: tuple[tuple[str, str], ...]
    live: tuple[tuple[str, ...], ...]
    evidence: tuple[Fact, ...]
    cost: tuple[Fact, ...]
    history: tuple[Fact, ...]


def list_facts(card: Scorecard) -> Facts:
    """Everything that a scorecard holds beside its name and its verdict."""
    withdrawn = ", then taken back" if card.withdrawn else ""
    return Facts(
        about=(
            ("alias", card.alias or "-"),
            ("learnt from", card.parent or "-"),
            ("compared with", card.incumbent or "-"),
            ("cycle", f"{card.cycle or '-'}, {card.outcome or 'open'}{withdrawn}"),
            ("why", card.reason or "-"),
            ("made", card.created_at.isoformat(timespec="seconds")),
        ),
        live=tuple(_segment(segment) for segment in card.live),
        evidence=_evidence(card),
        cost=_cost(card),
        history=tuple(Fact(_release(entry)) for entry in card.releases),
    )


def number(value: float | None) -> str:
    """To three digits; a dash for None."""
    return "-" if value is None else f"{value:.3g}"


def _segment(segment: Segment) -> tuple[str, ...]:
    ours, theirs = segment.candidate, segment.incumbent
    everyone = segment.dimension == "all"
    return (
        "everyone" if everyone else f"{segment.dimension} {segment.value}",
        say(segment.shown),
        segment.improved,
        _side(ours),
        _side(theirs),
        f"{ours.rewards} and {theirs.rewards}",
        f"{ours.sessions} and {theirs.sessions}",
    )


def _side(side: Side) -> str:
    accepted = "" if side.accepted is None else f", {side.accepted:.0%} accepted"
    return f"{number(side.reward)}{accepted}"


def _evidence(card: Scorecard) -> tuple[Fact, ...]:
    read = card.evidence
    facts = [
        Fact(
            f"learnt from {read['learnt_from']} answers, judged on {read['judged_on']} others;"
            f" {read['feedback']} reactions in all"
        )
    ]
    facts += [Fact(f"{signal}: {count}") for signal, count in sorted(read["signals"].items())]
    if card.gate:
        facts.append(Fact(f"gate: {card.gate['outcome']}: {'; '.join(card.gate['reasons'])}"))
    for guard in card.guards:
        sides = f"{number(guard['live'])} live, {number(guard['canary'])} canary"
        facts.append(Fact(f"{guard['name']}: {sides}; {guard['bound']}", broken=guard["broken"]))
    return tuple(facts)


def _cost(card: Scorecard) -> tuple[Fact, ...]:
    facts = [
        Fact(f"{what.replace('_', ' ')}: {seconds:.1f}")
        for what, seconds in sorted(card.cost.items())
    ]
    if (reached := card.exposed) is not None:
        facts.append(
            Fact(
                f"answered {reached.users} users in {reached.sessions} sessions,"
                f" {reached.answers} answers"
            )
        )
    return tuple(facts)


def _release(entry: Entry) -> str:
    share = f" at {entry.share:.0%}" if entry.share else ""
    at = entry.at.isoformat(timespec="seconds")
    return f"{at} {entry.alias}: {entry.action}{share}: {entry.reason}"
