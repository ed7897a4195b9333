"""McNemar's test: right-or-wrong cases of which both answered each."""

from __future__ import annotations

import math


def exact(wins: int, losses: int) -> float:
    """Two-sided p-value of wins and losses being equally likely; concordant cases do not count.

    The exact conditional test: a binomial tail over the discordant pairs (McNemar 1947).
    """
    return min(1.0, 2 * _tail(wins, losses))


def mid_p(wins: int, losses: int) -> float:
    """As `exact`, but counting only half of the chance of what was seen.

    Less conservative, and still within its level in nearly all of the cases that Fagerland,
    Lydersen & Laake 2013 enumerate ("The McNemar test for binary matched-pairs data", BMC Medical
    Research Methodology 13:91).
    """
    changed = wins + losses
    if changed == 0:
        return 1.0
    seen = math.comb(changed, wins) / 2**changed
    return min(1.0, 2 * _tail(wins, losses) - seen)


def _tail(wins: int, losses: int) -> float:
    changed, fewer = wins + losses, min(wins, losses)
    return sum(math.comb(changed, k) for k in range(fewer + 1)) / 2**changed
