"""What a wrong key costs: the more of them an address has sent, the later it is told so."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from liveweights.http.errors import ApiError

FREE = 5
"""Wrong keys that cost nothing: somebody mistypes, or a key has just been changed."""
FIRST, LONGEST = 0.25, 8.0
"""Seconds of the first pause, which doubles with each wrong key, and of the longest."""
FORGIVEN = 12.0
"""Seconds after which one of them is forgotten."""
AT_ONCE = 16
"""Wrong keys of one address that may wait for their answer; more are told at once, and their
connection is closed, so that each costs another one."""
ADDRESSES = 4096
"""Addresses that are remembered; the one that was quiet for the longest is forgotten first."""


@dataclass(slots=True)
class Record:
    """``wrong`` keys as of the time ``at``, in seconds."""

    wrong: float
    at: float

    def forgive(self, now: float) -> None:
        self.wrong = max(0.0, self.wrong - (now - self.at) / FORGIVEN)
        self.at = now


class WrongKeys:
    """In memory: each process counts for itself. A right key is never slowed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: dict[str, Record] = {}
        self._waiting: Counter[str] = Counter()

    def note(self, address: str) -> float:
        """One more wrong key; for how many seconds its answer is to wait."""
        now = self._clock()
        record = self._records.pop(address, None) or Record(0.0, now)
        self._records[address] = record  # as the last one
        if len(self._records) > ADDRESSES:
            del self._records[next(iter(self._records))]
        record.forgive(now)
        record.wrong += 1
        if record.wrong <= FREE:
            return 0.0
        return min(LONGEST, FIRST * 2 ** min(record.wrong - FREE - 1, 10.0))

    async def refuse(self, client: tuple[str, int] | None, error: ApiError) -> ApiError:
        """What to raise for a wrong key, once it is time to."""
        address = network_of(client)
        pause = self.note(address)
        if not pause:
            return error
        if self._waiting[address] >= AT_ONCE:
            closing = (b"connection", b"close")
            return ApiError(
                error.status,
                error.message,
                type=error.type,
                code=error.code,
                headers=(*error.headers, closing),
            )
        self._waiting[address] += 1
        try:
            await asyncio.sleep(pause)
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]
        return error


def network_of(client: tuple[str, int] | None) -> str:
    """What one person may have many of counts as one: an IPv6 network of 64 bits."""
    if client is None:
        return ""
    address = client[0]
    if ":" not in address:
        return address
    try:
        whole = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(whole.ipv4_mapped or ipaddress.IPv6Network((int(whole) >> 64 << 64, 64)))
