"""An update as one of several processes: ``python -m tests.learn.shared_update MODEL STORE RANK
PROCESSES UPDATER`` writes the report and the scores after it to ``STORE.json``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from tests.learn.voters import SOMEBODY
from torch import distributed as dist

from liveweights.learn.policy import Policy
from liveweights.learn.rows import Role, Row
from liveweights.learn.settings import LearnSettings
from liveweights.learn.tree import TokenRow
from liveweights.learn.update import update

PATHS = [
    TokenRow(list(range(1, 20)), [5, 6, 7]),
    TokenRow(list(range(1, 24)), [9, 6, 7]),
    TokenRow([40, 41, 42], [43, 44]),
    TokenRow([70, 41, 42], [43, 44, 7]),
    TokenRow(list(range(100, 150)), [43, 44, 7, 7]),
]
ROLES: list[Role] = ["preference", "correction", "preference"]
HEAT = [1.0] * len(PATHS)


def run(model: Path, updater: str, folder: Path) -> dict[str, Any]:
    """Sampled, shown and judged rows, in trees of more and of fewer rows than there are processes,
    and in steps of several trees."""
    settings = LearnSettings(
        updater=updater,  # type: ignore[arg-type]
        rank=4,
        learning_rate=5e-3,
        full_learning_rate=1e-3,
        epochs=2,
        nodes=64,
        step_rows=2,
        dtype="float32",
    )
    policy = Policy(model, None, settings)
    before = policy.score(PATHS, HEAT, 64)
    rows = [
        Row("policy", "g", "s", SOMEBODY, [*p.prompt_ids], [*p.answer_ids], 0.7, mu.tolist(), 1.0)
        if number % 2
        else Row(
            ROLES[number // 2], "g", "s", SOMEBODY, [*p.prompt_ids], [*p.answer_ids], 0.7, [], 1.0
        )
        for number, (p, mu) in enumerate(zip(PATHS, before, strict=True))
    ]
    report = update(policy, rows, settings)
    policy.finish()
    policy.save(folder)
    return {
        "loss": report.loss,
        "kl": report.kl,
        "grad_norm": report.grad_norm,
        "scores": torch.cat(policy.score(PATHS, HEAT, 64)).tolist(),
    }


if __name__ == "__main__":
    model, store, rank, processes, updater = sys.argv[1:]
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=int(rank), world_size=int(processes)
    )
    found = run(Path(model), updater, Path(f"{store}.saved"))
    if rank == "0":
        Path(f"{store}.json").write_text(json.dumps(found))
    dist.barrier()
    sys.stdout.flush()
    # Gloo's threads may be at work still, and do not survive the interpreter's end.
    os._exit(0)
