"""What a person sees while traffic runs: a live board on a terminal, else lines."""

from __future__ import annotations

import io
import sys
import time
from dataclasses import dataclass, field
from typing import Self, cast

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from liveweights.replay.client import CycleStatus, Status
from liveweights.replay.comparison import Comparison, Estimate, wilson
from liveweights.replay.traffic import Tally
from liveweights.terminal import clean


@dataclass(slots=True)
class Board:
    """Everything that is shown, changed in place by the demo."""

    tally: Tally
    phase: str = "starting"
    expected: str = ""
    status: Status = field(default_factory=Status)
    released: int = 0
    began: float = field(default_factory=time.monotonic)

    def __rich__(self) -> RenderableType:
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim", justify="right")
        facts.add_column()
        facts.add_row("now", Text(self.phase, style="bold"))
        if self.expected:
            facts.add_row("expected", Text(clean(self.expected)))
        facts.add_row("cycle", Text(clean(cycle_line(self.status.cycle))))
        facts.add_row("live", Text(short(self.status.live)))
        facts.add_row("canary", Text(short(self.status.canary)))
        facts.add_row("last verdict", Text(clean(verdict_line(self.status.cycles))))
        facts.add_row("releases", str(self.released))
        failed = Text(f"{self.tally.failed} failed", "red" if self.tally.failed else "green")
        facts.add_row("requests", Text(f"{self.tally.requests} served, ").append_text(failed))
        facts.add_row("latency", self._latency())
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for name in ("checkpoint", "asked", "shown", "silent", "accepted", "accept rate", "95%"):
            table.add_column(name, justify="left" if name == "checkpoint" else "right")
        for checkpoint, counts in self.tally.checkpoints.items():
            rate = wilson(counts.accepted, counts.shown)
            live = checkpoint == self.status.live
            table.add_row(
                Text(digest(checkpoint)),
                str(counts.asked),
                str(counts.shown),
                str(counts.silence),
                str(counts.accepted),
                percent(rate.mean),
                f"{percent(rate.low)} - {percent(rate.high)}",
                style="bold" if live else "",
            )
        elapsed = int(time.monotonic() - self.began)
        return Panel(
            Group(facts, Text(), table),
            title="liveweights: a model that learns from its users while it serves them",
            subtitle=f"{elapsed // 60}:{elapsed % 60:02} elapsed, Ctrl-C stops",
        )

    def line(self) -> str:
        """The same in one line."""
        live = self.tally.checkpoints.get(self.status.live or "")
        rate = wilson(live.accepted, live.shown) if live else None
        accepted = (
            f"{percent(rate.mean)} [{percent(rate.low)}, {percent(rate.high)}] "
            f"of {live.shown} shown, {live.silence} silent"
            if live and rate
            else "-"
        )
        return (
            f"{time.monotonic() - self.began:5.0f} s  {self.phase}; cycle "
            f"{cycle_line(self.status.cycle)}; live {short(self.status.live)}, canary "
            f"{short(self.status.canary)}; accepted by live {accepted}; {self.released} releases; "
            f"{self.tally.requests} requests, {self.tally.failed} failed"
        )

    def _latency(self) -> str:
        if not self.tally.seconds:
            return "-"
        return f"median {self.tally.latency(0.5):.2f} s, 95% {self.tally.latency(0.95):.2f} s"


class Display:
    """Shows a board: redrawn on a terminal, a line every ``interval`` seconds elsewhere."""

    def __init__(self, board: Board, plain: bool = False, interval: float = 10.0) -> None:
        self._board = board
        self._interval = interval
        self._last = ("", 0.0)
        self._moments: list[str] = []
        self.console = Console(width=None if sys.stdout.isatty() else 120)
        self._live = (
            None
            if plain or not self.console.is_terminal
            else Live(board, console=self.console, refresh_per_second=4, transient=True)
        )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str, style: str = "") -> None:
        """A line that stays, above the board where there is one."""
        self.console.print(Text(clean(text), style), soft_wrap=True)

    def moment(self, text: str) -> None:
        """The same, with the time since the start."""
        elapsed = int(time.monotonic() - self._board.began)
        strong = text.startswith(("RELEASED", "PROOF"))
        told = f"{elapsed // 60}:{elapsed % 60:02}  {text}"
        self._moments.append(told)
        self.say(told, "bold green" if strong else "")

    def capture(self, width: int = 92) -> str:
        """The moments so far and the board, as text."""
        console = Console(width=width, file=io.StringIO(), no_color=True)
        with console.capture() as captured:
            console.print(*map(Text, self._moments), self._board, sep="\n")
        return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"

    def tick(self) -> None:
        """Print the line if it is time for one, or something changed."""
        board, now = self._board, time.monotonic()
        cycle = board.status.cycle
        state = (
            f"{board.phase.partition(':')[0]}{cycle.id if cycle else ''}"
            f"{cycle.state if cycle else ''}{board.released}{board.tally.failed}"
        )
        if self._live is None and (state != self._last[0] or now - self._last[1] >= self._interval):
            self._last = (state, now)
            print(clean(board.line()), flush=True)


def closing_table(title: str, comparison: Comparison) -> Table:
    """Base against last on one set of held-out positions."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in ("", "base", "last", "difference", "paired 95%"):
        table.add_column(name, justify="right" if name else "left")
    base, last = comparison.base, comparison.last
    table.add_row("checkpoint", *(Text(digest(one.checkpoint)) for one in (base, last)))
    table.add_row("positions", str(base.positions), str(last.positions))
    table.add_row("shown", str(base.shown), str(last.shown), f"{last.shown - base.shown:+}")
    gained = last.accepted - base.accepted
    table.add_row("accepted", str(base.accepted), str(last.accepted), f"{gained:+}")
    rate, reward = comparison.accept_rate_diff, comparison.reward_diff
    table.add_row(
        "accept rate",
        percent(base.accept_rate.mean),
        percent(last.accept_rate.mean),
        percent(rate.mean, sign=True),
        f"{percent(rate.low, sign=True)} to {percent(rate.high, sign=True)}",
    )
    table.add_row(
        "mean reward",
        f"{base.reward.mean:+.4f}",
        f"{last.reward.mean:+.4f}",
        f"{reward.mean:+.4f}",
        _span(reward),
        style="bold",
    )
    return table


def cycle_line(cycle: CycleStatus | None) -> str:
    if cycle is None:
        return "none yet"
    parts = [f"{cycle.id} {cycle.outcome or cycle.state}"]
    if cycle.progress:
        parts.append(f"{cycle.progress.get('done')} of {cycle.progress.get('total')} rows")
    if cycle.reason:
        parts.append(cycle.reason)
    return ": ".join(parts)[:100]


def verdict_line(cycles: list[CycleStatus]) -> str:
    """The latest cycle that has a verdict, whichever way the list is ordered."""
    judged = [cycle for cycle in cycles if cycle.verdict]
    if not judged:
        return "none yet"
    cycle = max(judged, key=lambda cycle: cycle.id)
    verdict = cycle.verdict or {}
    name = verdict.get("verdict") or verdict.get("outcome") or verdict.get("decision") or "?"
    reasons: object = verdict.get("reasons") or verdict.get("reason") or cycle.reason or ""
    if isinstance(reasons, list):
        first, *others = [str(reason) for reason in cast(list[object], reasons)] or [""]
        reasons = f"{first}; and {len(others)} more" if others else first
    return f"cycle {cycle.id} {name}: {reasons}"


def short(checkpoint: str | None) -> str:
    return clean(checkpoint or "-")


def digest(checkpoint: str) -> str:
    """The part of an id behind its name, which is all that differs between checkpoints of one
    model."""
    return clean(checkpoint.partition("@")[2] or checkpoint)


def percent(value: float, sign: bool = False) -> str:
    if value != value:
        return "-"
    return f"{value:+.1%}" if sign else f"{value:.1%}"


def _span(estimate: Estimate) -> str:
    return f"{estimate.low:+.4f} to {estimate.high:+.4f}"
