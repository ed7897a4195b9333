"""Does the engine compute what was trained? Asked of every checkpoint before it answers users."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from liveweights.engines.protocol import Engine, Sampling
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.probes import FILE, Probe, Probes

FloatArray = NDArray[np.float64]

FEWEST = 8
"""Fewest log-probabilities that both engine and trainer name."""
FEWEST_PROBES = 8
"""Fewest prompts from which it is judged whether an adapter acts."""
_TRAINER_ERROR = {"float32": 0.0, "bfloat16": 0.1}
"""What the trainer's own precision may be off by, in nats: added to the engine's tolerance."""
DEVIATIONS = 3
"""Standard errors by which an adapter that acts must differ from half of one."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One token's log-probability by the engine, and by the trainer for checkpoint and base."""

    probe: int
    engine: float
    trained: float
    base: float


class ProbeReport(msgspec.Struct, frozen=True, kw_only=True):
    """Mean absolute differences in nats, tokens weighted by the trainer's probability.

    Weighted, because an engine's tolerance is about tokens that are sampled: rounding moves
    unlikely ones far more. ``expected_distance`` is between checkpoint and base by the trainer's
    figures: what ``distance_to_base`` should be if the adapter does its work and the engine does
    not round.
    ``acting`` is the share of the trainer's difference that the engine shows: 1 for an adapter
    that acts, 0 for one that does nothing; ``acting_error`` is its standard error.
    """

    ok: bool
    reason: str
    error_to_trainer: float | None = None
    distance_to_base: float | None = None
    expected_distance: float | None = None
    acting: float | None = None
    acting_error: float | None = None
    tolerance: float
    compared: int = 0


async def probe(engine: Engine, checkpoint: Checkpoint, probes: Probes | None) -> ProbeReport:
    """Ask the engine for one greedy token per probe and compare raw log-probabilities.

    All must agree with the trainer within the tolerance of both. An adapter must also show at
    least half of the trainer's difference to its base, where the probes can tell that from
    nothing. Without probes only a base is accepted. Raises EngineError.
    """
    if probes is None or not probes.probes:
        if checkpoint.kind == "base":
            return ProbeReport(ok=True, reason="no probes to compare", tolerance=engine.tolerance)
        return ProbeReport(
            ok=False,
            reason=f"{checkpoint.folder} has no {FILE}; what it computes cannot be checked",
            tolerance=engine.tolerance,
        )
    rows: list[Compared] = []
    for number, one in enumerate(probes.probes):
        rows += await _ask(engine, checkpoint.id, number, one)
    tolerance = engine.tolerance + _TRAINER_ERROR[probes.dtype]
    return judge(rows, tolerance, checkpoint.kind == "adapter")


def judge(rows: Sequence[Compared], tolerance: float, adapter: bool) -> ProbeReport:
    """Decide from what engine and trainer say of the same tokens."""
    if len(rows) < FEWEST:
        return ProbeReport(
            ok=False,
            reason=f"engine and trainer name only {len(rows)} same tokens; {FEWEST} are needed",
            tolerance=tolerance,
            compared=len(rows),
        )
    weights_B = np.exp([row.trained for row in rows])

    def mean(differences: Iterable[float]) -> float:
        return float(np.average(np.abs(list(differences)), weights=weights_B))

    error = mean(row.engine - row.trained for row in rows)
    acting, spread = fit_acting(rows) if adapter else (None, None)
    visible = acting is not None and spread is not None and spread < 0.5 / DEVIATIONS
    if not error <= tolerance:  # also when it is not a number
        ok, reason = False, f"{error:.4f} nats from the trainer; at most {tolerance:g}"
    elif visible and acting is not None and acting < 0.5:
        ok, reason = (
            False,
            f"the engine shows {acting:.0%} (± {spread:.0%}) of the trainer's difference to the"
            " base: the adapter does not act",
        )
    elif adapter and not visible:
        ok, reason = (
            True,
            f"agrees within {tolerance:g}; the difference to the base is less than this engine's"
            " precision can show",
        )
    else:
        ok, reason = True, f"agrees within {tolerance:g}"
    return ProbeReport(
        ok=ok,
        reason=reason,
        error_to_trainer=error,
        distance_to_base=mean(row.engine - row.base for row in rows),
        expected_distance=mean(row.trained - row.base for row in rows),
        acting=acting,
        acting_error=spread,
        tolerance=tolerance,
        compared=len(rows),
    )


def fit_acting(rows: Sequence[Compared]) -> tuple[float | None, float | None]:
    """Slope of (engine - base) on (trained - base), and its standard error, clustered by probe.

    Least squares with an intercept per probe: rounding moves the log-probabilities of one prompt
    together, through their common normaliser. Rounding has nothing to do with the direction in
    which training moved them, so that the slope sees differences well below the rounding. None
    where trainer's checkpoint and base do not differ, or for fewer than FEWEST_PROBES probes.
    """
    numbers = np.array([row.probe for row in rows])
    groups_B = np.unique(numbers, return_inverse=True)[1]
    sizes_G = np.bincount(groups_B)
    count = len(sizes_G)

    def centred(values: Sequence[float]) -> FloatArray:
        values_B = np.asarray(values, dtype=np.float64)
        return values_B - (np.bincount(groups_B, weights=values_B) / sizes_G)[groups_B]

    expected_B = centred([row.trained - row.base for row in rows])
    shown_B = centred([row.engine - row.base for row in rows])
    power = float((expected_B**2).sum())
    if power < 1e-12 or count < FEWEST_PROBES:
        return None, None
    slope = float((expected_B * shown_B).sum()) / power
    # Cluster-robust (Liang & Zeger 1986) with the usual G / (G - 1).
    scores_G = np.bincount(groups_B, weights=expected_B * (shown_B - slope * expected_B))
    return slope, float(np.sqrt(count / (count - 1) * (scores_G**2).sum())) / power


async def _ask(engine: Engine, checkpoint: str, number: int, one: Probe) -> list[Compared]:
    sampling = Sampling(max_tokens=1, temperature=0.0, top_logprobs=max(1, len(one.top)))
    expected = {token: (ours, base) for token, ours, base in one.top}
    rows: list[Compared] = []
    async for token in engine.generate(checkpoint, one.prompt_ids, sampling):
        rows += [
            Compared(number, value, *expected[id_]) for id_, value in token.top if id_ in expected
        ]
    return rows
