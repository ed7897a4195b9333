"""Relative changes between two checkpoints at the same positions, with paired intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from liveweights.replay.comparison import CONFIDENCE, Estimate, wilson
from liveweights.replay.developer import Outcome

RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Changes:
    """Last over base, minus 1: 0.28 is 28% more. NaN where the base has none."""

    accept_rate: Estimate
    shown: Estimate
    accepted: Estimate

    def as_dict(self) -> dict[str, dict[str, float | None]]:
        return {
            "accept_rate": self.accept_rate.as_dict(),
            "shown": self.shown.as_dict(),
            "accepted": self.accepted.as_dict(),
        }


def relative_changes(
    base: Sequence[Outcome | None],
    last: Sequence[Outcome | None],
    clusters: Sequence[str],
    *,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Changes:
    """Changes of accept rate (accepted by shown), of what was shown and of what was accepted.

    Position by position both are judged on the same thing, and positions of one cluster depend on
    one another: the intervals are percentiles of a bootstrap that draws whole clusters with
    replacement, base and last together (Davison & Hinkley 1997, section 3.8). Positions that
    failed in either are left out. Raises ValueError where lengths differ or nothing is left.
    """
    names: dict[str, int] = {}
    sums: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []
    for old, new, cluster in zip(base, last, clusters, strict=True):
        if old is None or new is None:
            continue
        place = names.setdefault(cluster, len(names))
        if place == len(sums):
            sums.append(np.zeros(4))
        sums[place] += [old != "silence", old == "accepted", new != "silence", new == "accepted"]
    if not sums:
        raise ValueError("there are no positions to compare")
    counts_G4 = np.array(sums)
    draws = np.random.default_rng(seed).integers(0, len(sums), (RESAMPLES, len(sums)))
    figures_3 = _figures(counts_G4.sum(0)[None])[0]
    samples_R3 = _figures(counts_G4[draws].sum(1))
    tail = (1 - confidence) / 2
    low_3, high_3 = np.nanquantile(samples_R3, [tail, 1 - tail], axis=0)
    return Changes(
        *(
            Estimate(float(mean), float(low), float(high))
            for mean, low, high in zip(figures_3, low_3, high_3, strict=True)
        )
    )


def withheld(incumbent: Sequence[Outcome | None], candidate: Sequence[Outcome | None]) -> Estimate:
    """Of what the incumbent shows, the share that the candidate withholds; Wilson's interval."""
    seen = [new for old, new in _both(incumbent, candidate) if old != "silence"]
    return wilson(seen.count("silence"), len(seen))


def kept(incumbent: Sequence[Outcome | None], candidate: Sequence[Outcome | None]) -> Estimate:
    """Of what is accepted of the incumbent, the share that is of the candidate, too."""
    taken = [new for old, new in _both(incumbent, candidate) if old == "accepted"]
    return wilson(taken.count("accepted"), len(taken))


def _both(
    incumbent: Sequence[Outcome | None], candidate: Sequence[Outcome | None]
) -> list[tuple[Outcome, Outcome]]:
    """Raises ValueError where lengths differ."""
    pairs = zip(incumbent, candidate, strict=True)
    return [(old, new) for old, new in pairs if old is not None and new is not None]


def _figures(
    counts_R4: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Relative changes of accept rate, shown and accepted, one row per sample."""
    shown, accepted, last_shown, last_accepted = counts_R4.T
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = (last_accepted / last_shown) / (accepted / shown) - 1
        figures = np.stack([rate, last_shown / shown - 1, last_accepted / accepted - 1], axis=1)
    figures[~np.isfinite(figures)] = np.nan
    return figures
