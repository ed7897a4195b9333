"""Our update beside TRL's KTO and GRPO trainers, on the same rows of feedback.

All get the packaged model, the same LoRA shape, optimizer, step size, precision and number of
threads; TRL gets as many rows per step as ours takes on average, four at a time. Two kinds of
rows: of developers who type whole files, and single requests that have nothing in common. How cost
grows with the feedback is seen on a small random model of the same family, whose passes take so
little that all else would show.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

import _feedback
import _report
from _trainers import Outcome
from liveweights.config import Config
from liveweights.gate.statistics import Difference, paired_difference
from liveweights.weights.models import DEFAULT_MODEL, find, load_tokenizer

HELD_BACK = 256
"""Rows."""
TRAFFIC = {"replayed": _feedback.replayed, "unrelated": _feedback.unrelated}


def main() -> None:
    cores = len(os.sched_getaffinity(0))
    options = _report.arguments(
        __doc__ or "",
        rows=(0, "feedback rows; 0: 96, or 16 with --quick"),
        threads=(cores, "CPU threads of every trainer"),
        trainers=("kto,grpo", "TRL's trainers to run beside ours; may be empty"),
        traffic=("replayed,unrelated", "kinds of rows"),
        growth=(
            "1000,5000,20000",
            "numbers of replayed rows to time ours alone with; may be empty",
        ),
    )
    count: int = options.rows or (16 if options.quick else 96)
    peers = [name for name in options.trainers.split(",") if name] if _has_trl(options) else []
    figures: dict[str, Any] = {"rows": count, "threads": options.threads}
    beside: dict[str, Any] = {}
    for kind in options.traffic.split(","):
        found = compare(kind, count, options.threads, peers, options.quick)
        _report.table(
            f"{count} {kind} rows, {options.threads} threads, {found.batch} rows per step",
            [
                "trainer",
                "rows/s",
                "times ours",
                "GiB",
                "held back: nats/token",
                "less ours, 95%",
                "",
            ],
            [
                [
                    outcome.trainer,
                    count / outcome.seconds,
                    outcome.seconds / found.ours.seconds,
                    outcome.peak_gib,
                    f"{outcome.before:.3f} -> {outcome.likelihood:.3f}",
                    told(found.beyond(outcome)) if outcome is not found.ours else "",
                    f"{outcome.busy:.0%} of the matrix rate" if outcome.busy is not None else "",
                ]
                for outcome in (found.ours, *found.peers)
            ],
        )
        figures[kind] = {"batch": found.batch, **figures_of(found.ours, count)}
        beside[kind] = {
            peer.trainer: {
                **figures_of(peer, count),
                "ratio": peer.seconds / found.ours.seconds,
                "less_ours": msgspec.to_builtins(found.beyond(peer)),
            }
            for peer in found.peers
        }
    if options.growth:
        counts = [int(n) // (50 if options.quick else 1) for n in options.growth.split(",")]
        figures["growth"] = growth(counts, options.threads)
    _report.finish("learn", options, figures, beside)


@dataclass(frozen=True)
class Comparison:
    """Trainers' outcomes on the same rows, ``batch`` to a step. ``sessions`` are of the rows that
    were held back."""

    ours: Outcome
    peers: list[Outcome]
    batch: int
    sessions: list[str]

    def beyond(self, peer: Outcome) -> Difference:
        """By how much held-back tokens are likelier after the peer's training, in nats."""
        rows = zip(self.sessions, self.ours.held_back, peer.held_back, strict=True)
        cases = [(s, a, b) for s, mine, theirs in rows for a, b in zip(mine, theirs, strict=True)]
        sessions, ours, theirs = zip(*cases, strict=True)
        return paired_difference(theirs, ours, sessions)


def told(difference: Difference) -> str:
    return f"{difference.mean:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"


def compare(kind: str, count: int, threads: int, peers: list[str], quick: bool) -> Comparison:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "feedback.json"
        feedback = TRAFFIC[kind](count, 16 if quick else HELD_BACK)
        _feedback.write(feedback, source)
        ours = run("ours", source, threads, 0)
        batch = max(1, round(count / ours.steps))
        sessions = [row.session for row in feedback.held_back]
        outcomes = [run(peer, source, threads, batch) for peer in peers]
        return Comparison(ours, outcomes, batch, sessions)


def growth(counts: list[int], threads: int) -> dict[str, float]:
    """Seconds per 1,000 rows of our update of a small model, by how many rows there are."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        model, source = Path(folder) / "small", Path(folder) / "feedback.json"
        make_small(model)
        for count in counts:
            _feedback.write(_feedback.replayed(count, 16), source)
            outcome = run("growing", source, threads, 0, str(model))
            found[str(count)] = 1000 * outcome.seconds / count
    _report.table(
        "Our update of a small model, by how much feedback there is",
        ["rows", "s per 1,000 rows"],
        [[int(n), seconds] for n, seconds in found.items()],
    )
    return found


def make_small(folder: Path) -> None:
    """A random Llama of two narrow layers, with the packaged model's tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = load_tokenizer(find(DEFAULT_MODEL, Config().cache_folder()))
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def run(
    trainer: str, source: Path, threads: int, batch: int, model: str = DEFAULT_MODEL
) -> Outcome:
    """Run one trainer in a process of its own. Raises SystemExit with the end of its output."""
    script = Path(__file__).with_name("_trainers.py")
    done = subprocess.run(
        [sys.executable, script, trainer, source, str(threads), str(batch), model],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{trainer} ended with code {done.returncode}:\n{done.stderr[-3000:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Outcome)


def _has_trl(options: Any) -> bool:
    if not options.trainers or importlib.util.find_spec("trl"):
        return True
    print("TRL is not installed, so there is nobody to compare with: pip install 'trl>=1.0,<2'")
    return False


def figures_of(outcome: Outcome, count: int) -> dict[str, float | None]:
    return {
        "seconds_per_1000": 1000 * outcome.seconds / count,
        "rows_per_second": count / outcome.seconds,
        "peak_gib": outcome.peak_gib,
        "held_back": outcome.likelihood,
        "held_back_before": outcome.before,
        "matrix_rate": outcome.busy,
    }


if __name__ == "__main__":
    main()
