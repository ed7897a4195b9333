"""How many threads an update computes with on a CPU: as many as help at the moment.

Threads that share an operation wait for the slowest at its end. Where another process keeps some
of the cores busy, all of the threads go at the pace of those that share these cores with it, and
half of the threads are faster.
"""

from __future__ import annotations

import time

import torch

from liveweights.learn import sharing
from liveweights.machine import compute_cores

AGAIN = 10.0
"""Seconds for which what was measured holds."""
ROUNDS = 3
SIZE = 768
"""Rows and columns of the matrices that are multiplied."""


class Threads:
    """Sets PyTorch's threads for this process: ``fixed``, or what is faster when 0."""

    def __init__(self, fixed: int) -> None:
        self._fixed = fixed
        self._most = max(1, compute_cores() // sharing.processes())
        self._until = 0.0
        torch.set_num_threads(fixed or self._most)

    def settle(self) -> None:
        """Between two passes: measure again if it is time to, which takes some 50 ms."""
        now = time.monotonic()
        if self._fixed or self._most == 1 or now < self._until:
            return
        torch.set_num_threads(faster(self._most, self._most // 2))
        self._until = now + AGAIN


def faster(most: int, fewer: int) -> int:
    """The number of threads that multiplies faster now; ``most`` unless ``fewer`` clearly does."""
    x_DD = torch.ones(SIZE, SIZE)
    seconds = dict.fromkeys((most, fewer), 0.0)
    for _ in range(ROUNDS):  # in turn, so that whatever comes between falls on both
        for threads in seconds:
            torch.set_num_threads(threads)
            began = time.perf_counter()
            torch.mm(x_DD, x_DD)
            seconds[threads] += time.perf_counter() - began
    return fewer if seconds[fewer] < 0.9 * seconds[most] else most
