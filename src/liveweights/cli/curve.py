"""How much is shown against how much of it is accepted, as numbers and as a small plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from liveweights.cli.output import say, show_table

WIDTH, HEIGHT = 48, 12
_QUARTERS = (0.25, 0.5, 0.75, 1.0)

Points = Sequence[Sequence[float]]


def show_calibration(calibration: Mapping[str, Any]) -> None:
    """Print when a candidate says nothing and why there; see ``gate.calibration.Calibration``."""
    rows: list[tuple[str, object]] = [
        ("drafts", f"{calibration['cases']}, {calibration['judged']} of them judged"),
        ("the point is set by", calibration["held_by"]),
    ]
    if withheld := calibration["withheld"]:
        rows.append(("withheld", _between(withheld["incumbent"], withheld["candidate"])))
        if withheld["high"] is not None:
            rows.append(("more withheld", f"{withheld['low']:+.3f} to {withheld['high']:+.3f}"))
    if (kept := calibration["kept"]) is not None:
        low = calibration["kept_low"]
        rows.append(("accepted for one of the incumbent's", f"{kept:.3f}, at least {low:.3f}"))
    if (forgone := calibration["forgone"]) is not None:
        rows.append(("of its own accepted, silence costs", f"at most {forgone:.3f}"))
    show_table(("when it says nothing", ""), rows)
    curves = calibration["incumbent_curve"], calibration["candidate_curve"]
    if not all(curves):
        return
    show_table(
        ("share of drafts shown", "accepted, incumbent", "accepted, candidate"),
        [
            (f"{share:.0%}", *(f"{_at(curve, share):.3f}" for curve in curves))
            for share in _QUARTERS
        ],
    )
    for line in plot(*curves, calibration["incumbent_point"], calibration["candidate_point"]):
        say(line)


def plot(
    incumbent: Points,
    candidate: Points,
    incumbent_point: Sequence[float] | None,
    candidate_point: Sequence[float] | None,
) -> list[str]:
    """Lines of text: accepted (up) against shown (right), both from 0.

    ``i`` is the incumbent, ``c`` the candidate, ``=`` both, ``I`` and ``C`` where each stands.
    """
    top = max(max(y for _, y in (*incumbent, *candidate)), 1e-9)
    grid = [[" "] * (WIDTH + 1) for _ in range(HEIGHT + 1)]

    def put(x: float, y: float, mark: str) -> None:
        row, column = HEIGHT - round(min(1.0, y / top) * HEIGHT), round(x * WIDTH)
        there = grid[row][column]
        grid[row][column] = "=" if {there, mark} == {"i", "c"} else mark

    for curve, mark in ((incumbent, "i"), (candidate, "c")):
        for column in range(WIDTH + 1):
            put(column / WIDTH, _at(curve, column / WIDTH), mark)
    for point, mark in ((incumbent_point, "I"), (candidate_point, "C")):
        if point:
            put(point[0], point[1], mark)
    labels = [f"{top:6.3f} |", *["       |"] * (HEIGHT - 1), "     0 |"]
    lines = [label + "".join(row).rstrip() for label, row in zip(labels, grid, strict=True)]
    lines.append("       +" + "-" * WIDTH)
    lines.append("        0% shown" + "100% shown".rjust(WIDTH - 8))
    return lines


def _at(curve: Points, share: float) -> float:
    """The curve at a share that is shown, between its points along straight lines."""
    for (x, y), (right, up) in pairwise(curve):
        if x <= share <= right:
            return y + (up - y) * (share - x) / (right - x) if right > x else up
    return curve[-1][1]


def _between(before: float, after: float) -> str:
    return f"{before:.1%} -> {after:.1%}"
