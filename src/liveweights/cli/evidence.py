"""``liveweights cycle --show``: what a cycle learnt, and from what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from liveweights.cli.curve import show_calibration
from liveweights.cli.output import say, show_table
from liveweights.cycle.ledger import LEFT

FIGURES = (
    ("mean reward", "mean_reward"),
    ("gradient steps", "steps"),
    ("gradient steps that were skipped, without finite numbers", "skipped"),
    ("steps that a start which was killed had made", "resumed"),
    ("gradient norm, mean", "grad_norm"),
    ("gradient norm, largest", "grad_norm_max"),
    ("loss, mean", "loss"),
    ("divergence from the incumbent on rows not trained on, nats per token", "divergence"),
    ("part of the update that was kept for it", "scale"),
    ("factor on the step size, mean", "rate"),
    ("divergence in the last step's loss, nats per token", "kl"),
    ("entropy of held-back answers before, nats", "entropy_before"),
    ("entropy of held-back answers after, nats", "entropy"),
    ("ratio to the behaviour policy", "ratio"),
    ("server against trainer, nats per token", "mismatch"),
    ("seconds", "seconds"),
)
CONDUCT = (
    ("episodes with an outcome", "episodes"),
    ("steps of episodes", "steps"),
    ("outcome of episodes, mean", "outcome"),
    ("steps with a tool call that cannot be read, share", "invalid_calls"),
    ("episodes that go in circles, share", "loops"),
    ("episodes that end in a refusal, share", "refusals"),
)


def show_report(report: Mapping[str, Any]) -> None:
    """Print a cycle's report for people."""
    ended = f", {report['standing']}" if report["outcome"] else ""
    say(f"cycle {report['id']} of {report['alias']}: {report['state']}{ended}")
    say(f"{report['incumbent']} -> {report['candidate'] or 'no candidate'}")
    if report["reason"]:
        say(report["reason"])
    learning = report["learning"] or {}
    if trial := learning.get("trial"):
        say(f"nothing is learnt: it judges what was brought ({trial['reason']})")
    _show_suites((report["verdict"] or {}).get("evidence", {}))
    if "rows" not in learning:
        say("nothing has been learnt yet" if trial is None else "nothing was scored yet")
        return
    if attempt := learning.get("attempt"):
        say(attempt["why"])
    for alarm in learning.get("alarms", []):
        say(f"alarm: {alarm}", fg="red")
    for note in learning.get("notes", []):
        say(f"note: {note}")
    rows: list[tuple[str, object]] = [("built", learning["rows"]), ("taught", learning["taught"])]
    for title, name in (
        ("reactions", "signals"),
        ("taught as", "roles"),
        ("left out", "masks"),
    ):
        rows.append((title, _counted(learning.get(name, {}))))
    if left := learning.get(LEFT):
        rows.append(("left for later cycles", f"{left} answers: more than learn.max_rows"))
    for user, distance in learning.get("outliers", {}).items():
        rows.append(("outlier", f"{user}, {distance:.1f} standard errors from the others"))
    show_table(("rows", ""), rows)
    figures: list[tuple[str, object]] = []
    for title, name in FIGURES:
        value = learning.get(name)
        figures.append((title, "not measured" if value is None else f"{value:.4g}"))
    calibration = learning.get("calibration")
    if calibration and (selection := calibration["selection"]):
        least = -selection["intercept"] / selection["slope"]
        figures.append(("log-probability from which a completion is shown", f"{least:.4g}"))
    for title, name in CONDUCT if learning.get("conduct") else ():
        figures.append((title, f"{learning['conduct'][name]:.4g}"))
    show_table(("figure", ""), figures)
    if calibration:
        show_calibration(calibration)
    if learning.get("moved"):
        _show_moved(learning["moved"])


def _show_suites(evidence: Mapping[str, Any]) -> None:
    rows: list[tuple[object, ...]] = []
    for finding in evidence.get("suites", ()):
        found = finding["difference"]
        ends = "" if found["low"] is None else f" [{found['low']:+.3f}, {found['high']:+.3f}]"
        scores = f"{found['incumbent']:.3f} -> {found['candidate']:.3f}"
        change = f"{found['mean']:+.3f}{ends}"
        rows.append((finding["suite"], finding["standing"], scores, change, found["cases"]))
    if rows:
        show_table(("suite", "standing", "scores", "change", "cases"), rows)
    for reason in evidence.get("left_out", ()):
        say(reason)


def _counted(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {name}" for name, count in ordered) or "none"


def _show_moved(examples: list[dict[str, Any]]) -> None:
    rows: list[tuple[object, ...]] = []
    for example in examples:
        before, after = math.exp(example["before"]), math.exp(example["after"])
        wording = example["wording"]
        rows.append(
            (
                example["generation"],
                example["text"],
                f"{before:.3f} -> {after:.3f}",
                "removed at the user's request" if wording is None else repr(wording)[:70],
            )
        )
    columns = ("generation", "text", "probability per token", "wording")
    show_table(columns, rows, title="held-back rows that moved most")
