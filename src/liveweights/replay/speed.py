"""How fast this machine computes with what it has free now: ``python -m liveweights.replay.speed``.

A service computes two things: matrix products over prompts and over rows of an update. Both are
timed as the update computes them, at one thread and at more, so that a core which something else
keeps busy shows: threads that wait for it make a pass slower, not faster.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

import msgspec

from liveweights.child import run_child
from liveweights.machine import cores

_SECONDS = 0.35
_SHAPE = (256, 576, 1536)
"""Rows, and the two widths of a small model's layer."""
_WORTH = 1.15
"""What more threads have to gain to be taken."""


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """``flops`` is the rate of floating-point operations per second at ``threads`` threads, which
    are the fewest that are about as fast as any number; ``single`` that of one thread."""

    threads: int
    flops: float
    single: float


def choose_threads(rates: Mapping[int, float]) -> int:
    """The number of threads to compute with, from the rate at each number that was tried: more
    only where each step up is worth it."""
    best = min(rates)
    for threads in sorted(rates):
        if rates[threads] > _WORTH * rates[best]:
            best = threads
    return best


def measure() -> Speed:
    """Takes about a second, and all cores."""
    import torch

    from liveweights.learn.settings import LearnSettings
    from liveweights.learn.updaters.load import compute_dtype

    rows, width, wider = _SHAPE
    dtype = compute_dtype(LearnSettings(device="cpu"))
    x_BD, weight_DE = torch.randn(rows, width, dtype=dtype), torch.randn(width, wider, dtype=dtype)
    rates: dict[int, float] = {}
    for threads in _counts(cores()):
        torch.set_num_threads(threads)
        torch.mm(x_BD, weight_DE)
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < _SECONDS:
            torch.mm(x_BD, weight_DE)
            count += 1
        rates[threads] = 2 * rows * width * wider * count / (time.perf_counter() - began)
    threads = choose_threads(rates)
    return Speed(threads=threads, flops=rates[threads], single=rates[1])


def _counts(cores: int) -> list[int]:
    """1, 2, 4, ... and all of them."""
    doubled = [1 << power for power in range(cores.bit_length())]
    return sorted({*(count for count in doubled if count <= cores), cores})


async def measure_apart() -> Speed:
    """The same in a process of its own. Raises RuntimeError with what it said where it fails."""
    ended = await run_child([sys.executable, "-m", "liveweights.replay.speed"])
    if ended.code:
        raise RuntimeError(f"the machine's speed could not be measured: {ended.last_line}")
    return msgspec.json.decode(ended.output, type=Speed)


if __name__ == "__main__":
    print(msgspec.json.encode(measure()).decode())
