"""Allowances that many processes share, by leases: what is decided, without any input or output.

A pool is what is left of a limit and nobody has. A process takes part of it as a lease, gives
requests their share of that in memory, and now and then says what they used and gives back what
they did not. So for every pool, at any time:

    what is left + all leases + what was used = the limit

where for limits per minute what was used comes back. A lease that its process does not renew goes
back into the pool when it expires.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, Protocol

MINUTE = 60
REMEMBERED = 86400.0
"""Seconds after its lease for which it is known what a process said last: so long it may try to say
it again."""
TERM = 15.0
"""Seconds for which a lease holds without a word of its process."""
SHARE = 4
"""A process takes at most one in so many of what is left beyond what it needs now, so that others
find some."""

Kind = Literal["rate", "slots", "money"]
"""What comes back within a minute; what comes back when a request ends; what is spent for good."""


@dataclass(frozen=True, slots=True)
class Limit:
    """``owner`` is a key or a tenant, ``name`` says which of its limits, ``begins`` since when it
    counts. ``most`` is what may be used: a minute, at once, or within the window."""

    owner: str
    name: str
    begins: datetime
    kind: Kind
    most: int

    @property
    def place(self) -> tuple[str, str, datetime]:
        return self.owner, self.name, self.begins


@dataclass(frozen=True, slots=True)
class Pool:
    """``rest`` is below 0 where more was used than there was. ``at``: when what comes back was
    last counted, in seconds of Unix time. ``warned``: it has been said that most is spent, of as
    much as it is now."""

    most: int
    rest: int
    at: float
    used: int = 0
    warned: bool = False


@dataclass(frozen=True, slots=True)
class Lease:
    """Of one process: ``amount`` as far as it has said what it used, until a time. ``report`` is
    the number of what it said last, 0 of what has none; it is kept when nothing is left.
    ``warned``: the answer to that was the one that warned."""

    amount: int
    until: float
    report: int = 0
    warned: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """What a process says of a limit, and wants: ``used`` and ``returned`` since it last asked;
    ``wanted`` by requests that wait, of which the smallest is content with ``least``; ``ahead`` for
    those to come. What is said with a ``report``, a number of the process's own choice other than
    0, counts once however often it is said."""

    limit: Limit
    used: int = 0
    returned: int = 0
    wanted: int = 0
    least: int = 0
    ahead: int = 0
    report: int = 0


@dataclass(frozen=True, slots=True)
class Grant:
    """``held`` is the process's whole lease now, ``rest`` what nobody has, ``others`` the leases of
    others, ``used`` all that was used so far. ``warn``: it is this process's to say that most of a
    budget is spent."""

    held: int
    rest: int
    others: int
    used: int
    at: float
    warn: bool = False


class LeaseStore(Protocol):
    """Where the pools are: in Postgres for many processes, in memory for one."""

    async def exchange(self, asks: Sequence[Ask]) -> list[Grant]:
        """One grant for each ask, whose limits are all different. Raises LeasesAway; then it is not
        known whether it was done, and the same asks may be put again."""
        ...

    async def recall(self, owners: Sequence[str]) -> None:
        """Ask other processes to give back what they do not need now. Raises LeasesAway."""
        ...


class LeasesAway(RuntimeError):
    """The pools cannot be reached at the moment."""


def new_pool(limit: Limit, now: float) -> Pool:
    return Pool(limit.most, limit.most, now)


def exchange(
    pool: Pool,
    leases: Mapping[str, Lease],
    ask: Ask,
    *,
    me: str,
    now: float,
    warn_at: float = 1.0,
) -> tuple[Pool, dict[str, Lease], Grant]:
    """What becomes of a pool and its leases when ``me`` asks, and what ``me`` is told.

    ``now`` is one clock's time for all, in seconds. ``warn_at`` is the share of a budget from which
    on a warning is due.
    """
    limit, left = ask.limit, dict(leases)
    rest = pool.rest + limit.most - pool.most  # the limit may have been changed
    for name, lease in leases.items():
        if lease.until <= now and name != me:
            rest += lease.amount
            left[name] = replace(lease, amount=0)
            if not lease.report or lease.until + REMEMBERED <= now:
                del left[name]
    mine = left.pop(me, Lease(0, now))
    held = mine.amount
    heard = bool(ask.report) and ask.report == mine.report
    used, returned = (0, 0) if heard else (ask.used, ask.returned)
    # What was used or is given back comes out of the lease; what goes beyond it (more was used
    # than was leased, or the lease had expired) out of the pool.
    gone = used + returned
    rest += returned - max(0, gone - held)
    held = max(0, held - gone)
    others = sum(lease.amount for lease in left.values())
    rest, at = _come_back(limit, rest, held + others, since=pool.at, now=now)
    granted = _grant(ask, rest)
    rest, held = rest - granted, held + granted
    total = pool.used + used
    # A budget that was raised since it was warned of is warned of again when most of it is spent.
    due = limit.kind == "money" and total > 0 and total >= warn_at * limit.most
    changed = Pool(limit.most, rest, at, total, warned=due)
    # The answer that got lost may have been the one that said so.
    warn = due and (not pool.warned or (heard and mine.warned))
    if held or ask.report:
        left[me] = Lease(held, now + TERM, ask.report, warned=bool(ask.report) and warn)
    return changed, left, Grant(held, rest, others, total, at, warn)


def _come_back(
    limit: Limit, rest: int, leased: int, *, since: float, now: float
) -> tuple[int, float]:
    """What a minute brings back by ``now``, and when it was counted. Parts of one wait."""
    if limit.kind != "rate":
        return rest, now
    if not limit.most:
        return min(rest, 0), now
    back = max(0, int((now - since) * limit.most / MINUTE))
    full = limit.most - leased
    if rest + back >= full:
        return full, now
    return rest + back, since + back * MINUTE / limit.most


def _grant(ask: Ask, rest: int) -> int:
    if rest < ask.wanted:
        return rest if 0 < ask.least <= rest else 0
    return ask.wanted + max(0, min(ask.ahead, (rest - ask.wanted) // SHARE))


def wait_for(limit: Limit, missing: int) -> float:
    """Seconds until so much has come back of a limit per minute."""
    return missing * MINUTE / limit.most if limit.most else float(MINUTE)


class MemoryLeases:
    """The pools of one process, in memory: they begin anew with it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._pools: dict[tuple[str, str, datetime], Pool] = {}
        self._leases: dict[tuple[str, str, datetime], dict[str, Lease]] = {}

    async def exchange(self, asks: Sequence[Ask]) -> list[Grant]:
        now, grants = self._clock(), list[Grant]()
        for ask in asks:
            place = ask.limit.place
            pool = self._pools.get(place) or new_pool(ask.limit, now)
            leases = self._leases.get(place, {})
            self._pools[place], self._leases[place], grant = exchange(
                pool, leases, ask, me="me", now=now
            )
            grants.append(grant)
        return grants

    async def recall(self, owners: Sequence[str]) -> None:
        """There are no others."""
