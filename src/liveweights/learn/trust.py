"""The bound on how far an update goes: the whole step is shortened where it went too far.

A penalty in the loss, and a step size that follows what steps do (`pace`), keep most updates near
the incumbent; neither is a bound. This is one: along the line from the incumbent's weights to
those that the update ended with, the point whose divergence on rows that were not trained on is
what was asked for. It is the line search of TRPO (Schulman et al. 2015, arXiv 1502.05477, appendix
C) with the divergence alone as its condition: what the candidate is worth is for the gate to say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from liveweights.learn.settings import TOLERANCE

_ENOUGH = 0.8
"""Share of the target from which a shortened step is long enough."""
_LOOKS = 8


class Line:
    """The way from parameters as an update finds them to where it leaves them."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        """Keeps a copy: half as large where bfloat16 holds the same numbers, as in a model that
        was stored so."""
        self._parameters = parameters
        self._start = [_smallest(parameter.detach()) for parameter in parameters]
        self._end: list[Tensor] = []

    def end(self) -> None:
        """The update has ended here. Kept before it is rounded to what is stored: a part of a
        rounded step rounds back to where it began, or to the whole step."""
        self._end = [parameter.detach().clone() for parameter in self._parameters]

    @torch.no_grad()
    def go(self, scale: float) -> None:
        """Make every parameter start + scale * (end - start); at 0 also where the end is no
        number."""
        for parameter, start, end in zip(self._parameters, self._start, self._end, strict=True):
            if scale == 0.0:
                parameter.copy_(start)
            else:
                parameter.copy_(end)
                parameter.lerp_(start.to(parameter.dtype), 1.0 - scale)


@dataclass(frozen=True, slots=True)
class Scaled:
    """A point on the line from incumbent (0) to the end of the update (1), and the divergence
    there, in nats per token."""

    scale: float
    divergence: float


def find_scale(measure: Callable[[float], float], whole: float, target: float) -> Scaled:
    """The point of a divergence between most of the ``target`` and its tolerance beyond it.

    ``measure`` gives the divergence at a scale in (0, 1); ``whole`` is that at 1. The next point to
    look at is where a power law through the two last ones meets the target; the first is where a
    square does, which is what a divergence is of a small step. Weights that are stored in few bits
    move in leaps, which no power law follows: where it points outside of what is left, or nowhere
    since a divergence is no number, the next point is in the middle of that.

    Never returns a point that was measured beyond the tolerance: where all are, the incumbent
    itself.
    """
    if is_near(whole, target):
        return Scaled(1.0, whole)
    inside, outside = Scaled(0.0, 0.0), Scaled(1.0, whole)
    power = 2.0
    for _ in range(_LOOKS):
        scale = outside.scale * (target / outside.divergence) ** (1 / power)
        if not inside.scale < scale < outside.scale:
            scale = (inside.scale + outside.scale) / 2
        here = Scaled(scale, measure(scale))
        if is_near(here.divergence, target):
            inside = here
            if here.divergence >= _ENOUGH * target:
                break
        power = _power(outside, here)
        if not is_near(here.divergence, target):
            outside = here
    return inside


def is_near(divergence: float, target: float) -> bool:
    return divergence <= (1 + TOLERANCE) * target


def _power(one: Scaled, other: Scaled) -> float:
    """The exponent of the power law through two points, kept where a next step makes sense."""
    known = one.divergence > 0.0 and other.divergence > 0.0
    if not known or one.scale == other.scale:
        return 2.0
    rise = math.log(one.divergence / other.divergence) / math.log(one.scale / other.scale)
    return min(max(rise, 0.5), 8.0)


def _smallest(parameter: Tensor) -> Tensor:
    half = parameter.to(torch.bfloat16)
    same = bool((half.to(parameter.dtype) == parameter).all())
    return half if same else parameter.clone()
