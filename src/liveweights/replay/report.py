"""What a demo leaves: the scorecard, the plot, and a handful of places for people to look at."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from liveweights.replay import plot
from liveweights.replay.course import Result
from liveweights.replay.developer import Outcome
from liveweights.replay.display import closing_table, digest
from liveweights.replay.proof import Place, Proof, telling
from liveweights.replay.settings import DemoOptions
from liveweights.replay.traffic import Tally
from liveweights.terminal import clean
from liveweights.weights.staging import write_whole

PLACES = 6
_WORDS: dict[Outcome, str] = {
    "accepted": "taken",
    "rejected": "not taken",
    "silence": "kept silent",
}
_CONTEXT = 2
"""Lines of the developer's file that a place is shown with."""


def show_places(console: Console, proof: Proof) -> None:
    """A few held-out places: what the base wrote, what is written now, what the developer wrote."""
    table = Table(
        title=f"What became of {len(proof.places)} held-out suggestions",
        title_justify="left",
        title_style="bold",
    )
    for name in ("of the base", "now", "places"):
        table.add_column(name, justify="right" if name == "places" else "left")
    for (before, after), count in proof.changes.most_common():
        table.add_row(_WORDS[before], _WORDS[after], str(count))
    console.print(table)
    for place in telling(proof.places, PLACES):
        console.print(_panel(place))


def _panel(place: Place) -> Panel:
    context = place.position.prompt.split("\n")
    typed = "\n".join(context[-_CONTEXT - 1 :])
    before, after = place.change
    texts = Table.grid(padding=(0, 1))
    texts.add_column(style="dim", justify="right", no_wrap=True)
    texts.add_column(overflow="fold")
    texts.add_row("base", _said(place.before, before))
    texts.add_row("now", _said(place.after, after))
    texts.add_row("developer", Text(_lines(place.position.expected)))
    return Panel(
        Group(Text(_lines(typed) + "▏", style="dim"), texts),
        title=Text(f"{clean(place.position.file)}, line {place.position.line}"),
        title_align="left",
    )


def _lines(text: str) -> str:
    return clean(text, keep="\n\t")


def _said(text: str, outcome: Outcome) -> Text:
    style = {"accepted": "green", "rejected": "red", "silence": "yellow"}[outcome]
    shown = Text(_lines(text.rstrip()) + "  ") if outcome != "silence" else Text("")
    return shown.append(f"({_WORDS[outcome]})", style)


def show_tables(console: Console, result: Result) -> None:
    """The last checkpoint beside the base."""
    if result.proofs:
        title = "Held-out files (no developer typed them)"
        console.print(closing_table(title, result.proofs[-1].comparison))
    if result.packages is not None:
        title = "Held-out packages (no file of them was typed)"
        console.print(closing_table(title, result.packages))


def write(
    folder: Path, result: Result, options: DemoOptions, tally: Tally, *, seconds: float
) -> list[Path]:
    """``scorecard.json`` and ``accept_rate.png``, each whole or not at all; their paths."""
    scorecard, picture = folder / "scorecard.json", folder / "accept_rate.png"
    text = json.dumps(scorecard_of(result, tally, seconds), indent=2, allow_nan=False)
    write_whole(scorecard, f"{text}\n".encode())
    drawn = folder / "accept_rate.partial.png"
    plot.draw(
        drawn,
        _columns(result, tally),
        options.rewards,
        f"live traffic at temperature {options.traffic.temperature:g}, held-out positions at 0",
    )
    os.replace(drawn, picture)
    return [scorecard, picture]


def scorecard_of(result: Result, tally: Tally, seconds: float) -> dict[str, object]:
    """The content of ``scorecard.json``; ``seconds`` is the whole run. Without a release ``base``
    and ``last`` are None."""
    last = result.proofs[-1].comparison.as_dict() if result.proofs else {}
    return {
        "requests": tally.requests,
        "failed": tally.failed,
        "releases": result.released,
        "looks": len(result.proofs),
        "shown_to_be_better": bool(result.proofs) and result.proofs[-1].is_clear,
        "positions": len(result.base.positions),
        "seconds": round(seconds, 1),
        "base": last.get("base"),
        "last": last.get("last"),
        "reward_diff": last.get("reward_diff"),
        "accept_rate_diff": last.get("accept_rate_diff"),
        "packages": result.packages.as_dict() if result.packages else None,
        "completions": tally.completions,
        "feedback": tally.feedback,
        "latency": {"median": _known(tally, 0.5), "p95": _known(tally, 0.95)},
        "traffic": {
            "seconds": round(result.traffic_seconds, 1),
            "checkpoints": {
                checkpoint: {
                    "asked": counts.asked,
                    "shown": counts.shown,
                    "accepted": counts.accepted,
                    "silence": counts.silence,
                }
                for checkpoint, counts in tally.checkpoints.items()
            },
        },
        "corpus": {
            "training_files": len(result.split.training),
            "dropped_as_repeating": result.split.dropped,
            "held_out_packages": sorted({f.package for f in result.split.held_out_packages}),
            "packages": {
                package.name: f"{package.version}, {package.licence}"
                for package in result.corpus.packages
            },
        },
        "errors": list(tally.errors),
    }


def _known(tally: Tally, share: float) -> float | None:
    return round(tally.latency(share), 3) if tally.seconds else None


def _columns(result: Result, tally: Tally) -> Sequence[plot.Column]:
    """Base first, then in the order of the first answers; what was only ever a canary says so."""
    base = result.base.checkpoint
    proofs = {proof.checkpoint: proof.comparison for proof in result.proofs}
    files = {checkpoint: comparison.last for checkpoint, comparison in proofs.items()}
    packages = {}
    if proofs:
        files[base] = next(iter(proofs.values())).base
    if result.packages is not None:
        packages = {one.checkpoint: one for one in (result.packages.base, result.packages.last)}
    columns: list[plot.Column] = []
    for checkpoint in dict.fromkeys([base, *tally.checkpoints, *proofs]):
        note = "base" if checkpoint == base else "released" if checkpoint in proofs else "canary"
        columns.append(
            plot.Column(
                f"{digest(checkpoint)[:6]}\n{note}",
                tally.checkpoints.get(checkpoint),
                files.get(checkpoint),
                packages.get(checkpoint),
            )
        )
    return columns
