"""What work costs in energy: joules that the processor counts (RAPL) where they can be read, else
seconds of processor time, which stand for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

ZONES = Path("/sys/class/powercap")
"""One folder for each processor package, ``intel-rapl:N``, on Intel's and AMD's alike."""


@dataclass(frozen=True)
class Spent:
    """``joules`` of all processors, whatever they did; None where they are not told. ``seconds`` of
    processor time of a process and all that it began."""

    joules: float | None
    seconds: float


class Meter:
    """From its making on."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._known: dict[tuple[int, float], float] = {}
        self._joules = read_counters()
        self._began = self._seconds()

    def read(self) -> Spent:
        """A process that has ended since counts as far as it was seen at the last reading."""
        return Spent(joules_between(self._joules, read_counters()), self._seconds() - self._began)

    def _seconds(self) -> float:
        for process in (self._root, *self._root.children(recursive=True)):
            try:
                times = process.cpu_times()
                self._known[process.pid, process.create_time()] = times.user + times.system
            except psutil.NoSuchProcess:
                continue
        return sum(self._known.values())


def read_counters(zones: Path = ZONES) -> dict[str, tuple[int, int]]:
    """Microjoules so far of each package, and where its counter begins again; none where they may
    not be read."""
    counters: dict[str, tuple[int, int]] = {}
    for zone in sorted(zones.glob("intel-rapl:?")):
        try:
            limit = int((zone / "max_energy_range_uj").read_text())
            counters[zone.name] = int((zone / "energy_uj").read_text()), limit
        except OSError:
            continue
    return counters


def joules_between(
    before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]
) -> float | None:
    if not before or before.keys() != after.keys():
        return None
    return sum((after[z][0] - begun) % (limit + 1) for z, (begun, limit) in before.items()) / 1e6
