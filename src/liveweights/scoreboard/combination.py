"""Two models over several suites: the mean of the suites' differences."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from liveweights.gate.statistics import Difference


def combine(parts: Sequence[Difference]) -> Difference | None:
    """The mean of independent differences, each of equal weight, whatever drew their intervals.

    What the joint interval reaches to either side is the root of the sum of the squared reaches
    over their number (Zou & Donner 2008, "Construction of confidence limits about effect
    measures"); of one difference it is its own. None where one has no interval.
    """
    below = [part.mean - part.low for part in parts if part.low is not None]
    above = [part.high - part.mean for part in parts if part.high is not None]
    count = len(parts)
    if not parts or len(below) < count or len(above) < count:
        return None
    mean = sum(part.mean for part in parts) / count
    return Difference(
        mean=mean,
        low=mean - math.hypot(*below) / count,
        high=mean + math.hypot(*above) / count,
        standard_error=math.hypot(*(part.standard_error or 0.0 for part in parts)) / count,
        confidence=parts[0].confidence,
        cases=sum(part.cases for part in parts),
        sessions=sum(part.sessions for part in parts),
        changed=sum(part.changed for part in parts),
        wins=sum(part.wins for part in parts),
        candidate=sum(part.candidate for part in parts) / count,
        incumbent=sum(part.incumbent for part in parts) / count,
        shift=sum(part.shift for part in parts) / count,
    )


def turn(one: Difference) -> Difference:
    """The same, of incumbent minus candidate."""
    return msgspec.structs.replace(
        one,
        mean=-one.mean,
        low=None if one.high is None else -one.high,
        high=None if one.low is None else -one.low,
        shift=-one.shift,
        wins=one.changed - one.wins,
        candidate=one.incumbent,
        incumbent=one.candidate,
    )
