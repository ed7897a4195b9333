"""The headline's rows, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from _report import table
from _rows import GATE, LEARN
from liveweights.replay.goals import PUBLISHED, most_divergence


def show_row(found: Mapping[str, Any]) -> None:
    """One row: base against last, its goals."""
    title = f"{found['row']['name']}, {found['sizes']['cycles']} cycles"
    if found["row"]["kind"] == "chat":
        table(title, CHAT, _chat(found))
    else:
        table(
            f"{title}, {found['positions']} held-out positions",
            ("", "base", "last", "change, 95%", "published"),
            [
                ("accept rate", _rate(found["base"]), _rate(found["last"]),
                 _change(found["changes"]["accept_rate"]), f"{PUBLISHED['accept_rate']:+.0%}"),
                *((name, found["base"][name], found["last"][name],
                   _change(found["changes"][name]),
                   f"{PUBLISHED[name]:+.0%}" if name in PUBLISHED else "")
                  for name in ("shown", "accepted")),
            ],
        )  # fmt: skip
    table(
        "goals",
        ("goal", "figure", "met"),
        [(goal["goal"], _number(goal["figure"]), _yes(goal["met"])) for goal in found["goals"]],
    )


def show_matrix(rows: Sequence[Mapping[str, Any]]) -> None:
    """All rows that there are; what misses its goal has a mark."""
    typed = [found for found in rows if found["row"]["kind"] == "completion"]
    if typed:
        table(
            f"Change from the base, 95% ({MISSED} misses its goal); largest divergence of"
            f" {most_divergence(LEARN):g}, most withheld of {GATE.max_withheld:g} in a cycle",
            ("row", "accept rate", "shown", "accepted", "divergence", "withheld", "s", "met"),
            [_completion(found) for found in typed],
        )
    talked = [found for found in rows if found["row"]["kind"] == "chat"]
    if talked:
        table(
            "Share of right answers, and mean reward", CHAT, [r for f in talked for r in _chat(f)]
        )


MISSED = "!"
CHAT = ("row", "families", "tasks", "right", "change, 95%", "reward", "change, 95%", "s", "met")


def _completion(found: Mapping[str, Any]) -> tuple[str, ...]:
    changes, goals = found["changes"], found["goals"]
    figures = (
        _change(changes["accept_rate"]),
        _change(changes["shown"]),
        _change(changes["accepted"]),
        _number(goals[3]["figure"]),
        _number(goals[4]["figure"]),
    )
    marked = [
        figure + ("" if goal["met"] else MISSED)
        for figure, goal in zip(figures, goals, strict=True)
    ]
    met = sum(goal["met"] for goal in goals)
    return (found["row"]["name"], *marked, _seconds(found), f"{met} of {len(goals)}")


def _chat(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    met = sum(goal["met"] for goal in found["goals"])
    for name, said, goal in zip(
        ("asked", "held_out"), ("asked for", "held out"), found["goals"][:2], strict=True
    ):
        part = found[name]
        change = _points(part["right"]) + ("" if goal["met"] else MISSED)
        rows.append((
            found["row"]["name"],
            said,
            str(part["tasks"]),
            f"{part['base']['right']:.1%} to {part['last']['right']:.1%}",
            change,
            f"{part['base']['reward']:+.3f} to {part['last']['reward']:+.3f}",
            _points(part["reward"], 1, ".3f"),
            _seconds(found),
            f"{met} of {len(found['goals'])}",
        ))  # fmt: skip
    return rows


def _rate(counts: Mapping[str, int]) -> str:
    return f"{counts['accepted'] / counts['shown']:.1%}" if counts["shown"] else "-"


def _change(estimate: Mapping[str, float | None]) -> str:
    if estimate["mean"] is None:
        return "-"
    return f"{estimate['mean']:+.0%} ({_bound(estimate['low'])} to {_bound(estimate['high'])})"


def _bound(value: float | None) -> str:
    return "?" if value is None else f"{value:+.0%}"


def _points(estimate: Mapping[str, float | None], factor: float = 100, style: str = ".1f") -> str:
    """In percentage points, or plain."""
    mean, low, high = (estimate[name] for name in ("mean", "low", "high"))
    said = [("?" if v is None else format(factor * v, f"+{style}")) for v in (mean, low, high)]
    return f"{said[0]} ({said[1]} to {said[2]})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _yes(met: bool) -> str:
    return "yes" if met else "no"


def _seconds(found: Mapping[str, Any]) -> str:
    return f"{sum(found['seconds'].values()):.0f}"
