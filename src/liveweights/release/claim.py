"""Whether a checkpoint may be said to have improved things: one word, by stated rules. Pure."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Improved = Literal["yes", "no", "not shown"]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A difference of mean rewards on live traffic, with its interval; None where there is none.
    Sessions are those of the candidate and of the incumbent."""

    difference: float | None
    low: float | None
    high: float | None
    confidence: float
    sessions: tuple[int, int]


def conclude(live: Shown | None, gate: dict[str, Any] | None) -> tuple[Improved, str]:
    """The word, and a sentence with all that it follows from, in both directions.

    "no": on live traffic the interval of the difference lies below 0, or the gate said FAIL.
    "yes": on live traffic it lies above 0; or nothing is shown there, the mean is not below 0 there
    either, and the gate passed the candidate for better answers: the interval of the reward of
    what both were asked again lies above 0. That users' own texts became likelier is no better
    answer yet. "not shown": all else.
    """
    verdict = (gate or {}).get("outcome")
    told = "; ".join([*_say_live(live), *_say_gate(gate)])
    if live and live.high is not None and live.high < 0:
        return "no", f"worse on live traffic: {told}"
    if verdict == "FAIL":
        return "no", f"worse at the gate: {told}"
    if live and live.low is not None and live.low > 0:
        return "yes", f"better on live traffic: {told}"
    asked = _difference(gate, "reward")
    better = verdict == "PASS" and asked is not None and (asked.get("low") or 0.0) > 0
    falls = live is not None and live.difference is not None and live.difference < 0
    if better and not falls:
        return "yes", f"better at the gate, and live traffic does not contradict it: {told}"
    if better:
        return "not shown", f"better at the gate, and lower on live traffic: {told}"
    if verdict == "INCONCLUSIVE":
        return "not shown", f"the gate could not tell: {told}"
    if not told:
        return "not shown", "neither the gate nor live traffic has shown anything yet"
    return "not shown", f"no answers are shown to be better: {told}"


def say(shown: Shown) -> str:
    """The difference in one line."""
    if shown.difference is None:
        return "not compared"
    if shown.low is None or shown.high is None:
        return f"{shown.difference:+.4f}, too few sessions for an interval"
    return (
        f"{shown.difference:+.4f} [{shown.low:+.4f}, {shown.high:+.4f}] at {shown.confidence:.4g}"
    )


def _say_live(live: Shown | None) -> list[str]:
    if live is None or live.difference is None:
        return []
    ours, theirs = live.sessions
    return [f"mean reward on live traffic {say(live)} ({ours} and {theirs} sessions)"]


def _say_gate(gate: dict[str, Any] | None) -> list[str]:
    """What the gate measured, and what it decided from it."""
    if not gate:
        return []
    lines: list[str] = []
    for name, words, up, down in (
        ("reward", "reward of answers that were asked again", "better", "worse"),
        ("likelihood", "likelihood of users' text", "rose", "fell"),
    ):
        if (d := _difference(gate, name)) is None:
            continue
        losses = d["changed"] - d["wins"]
        lines.append(
            f"{words} {d['mean']:+.4f}, {d['wins']} {up} and {losses} {down} of {d['cases']} cases"
        )
    reasons = "; ".join(gate.get("reasons", ()))
    return [*lines, f"the gate said {gate['outcome']}: {reasons}"]


def _difference(gate: dict[str, Any] | None, name: str) -> dict[str, Any] | None:
    return (gate or {}).get("evidence", {}).get(name)
