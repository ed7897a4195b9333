"""What a process has of a limit, and how much of that its requests have."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, replace

from liveweights.meter.leases import MINUTE, TERM, Ask, Grant, Limit

AHEAD = 2
"""How many times what was taken since the last report is asked for beside what is needed now."""
KEPT = 4
"""How many times that is kept; what is beyond it goes back."""


@dataclass(frozen=True, slots=True)
class Payer:
    """Whose money it is, and in which currency."""

    tenant: str
    currency: str


class Holding:
    """``held`` is leased; of that ``reserved`` is what running requests may use, and ``used`` what
    requests have used since it was last said. Times are in seconds on the process's own clock."""

    __slots__ = (
        *("limit", "held", "reserved", "used", "lately", "until"),
        *("rest", "others", "total", "told_at", "refused", "refused_until"),
        *("payer", "unheard", "__weakref__"),
    )

    def __init__(self, limit: Limit, now: float) -> None:
        self.limit = limit
        self.payer: Payer | None = None
        """Of a tenant's money, who is told when most of it is spent."""
        self.unheard: Ask | None = None
        """What was said of money, and may not have been heard."""
        self.held = 0
        self.reserved = 0
        self.used = 0
        self.lately = 0
        """Taken since the last report."""
        self.until = -math.inf
        """When the lease ends."""
        self.rest = limit.most
        """What nobody had when it was last told."""
        self.others = 0
        """What others had then."""
        self.total = 0
        """All that had been used then."""
        self.told_at = now
        self.refused = 0
        """The least that was asked for in vain, until ``refused_until``."""
        self.refused_until = -math.inf

    def free(self, now: float) -> int:
        """What requests can still have of the lease; below 0 where they used more than it."""
        free = self.held - self.reserved - self.used
        return free if now < self.until else min(free, 0)

    def left(self, now: float) -> int:
        """The same, and what nobody has, with what came back of it since it was last told."""
        rest = self.rest
        if self.limit.kind == "rate":
            back = int((now - self.told_at) * self.limit.most / MINUTE)
            rest = min(self.limit.most, rest + back)
        return self.free(now) + rest

    def need(self, amount: int) -> int:
        """What has to be there for ``amount``: more than the whole limit per minute counts as the
        limit, so that such a request has its turn."""
        return min(amount, self.limit.most) if self.limit.kind == "rate" else amount

    def has(self, needed: int, now: float) -> bool:
        """Whether so much is there: for 0, whether what was used beyond the limit has come back;
        less than nothing always is."""
        if needed > 0:
            return self.free(now) >= needed
        return needed < 0 or self.free(now) > 0 or self.left(now) >= 0

    def take(self, amount: int) -> None:
        self.reserved += amount
        self.lately += max(0, amount)

    def settle(self, reserved: int, used: int) -> None:
        """A request has ended that had ``reserved``, and has ``used`` so much."""
        self.reserved -= reserved
        self.used += used

    def make_ask(self, needs: list[int], *, give_back: bool, now: float) -> Ask:
        """What to say and to ask for. Until it is ``granted`` nobody knows whether it was heard:
        what it gives back is used no more, and of money ``unheard`` is to be said again first."""
        after = max(0, self.held - self.used) - self.reserved
        missing = sorted(need for need in needs if need > 0)
        wanted = max(0, sum(missing) - after) if missing else 0
        least = max(0, missing[0] - after) if missing else 0
        spare = self.free(now) - (0 if give_back else KEPT * self.lately)
        returned = 0 if missing else max(0, spare)
        self.held -= returned
        ahead = 0 if give_back else self._ahead(after, bool(wanted))
        ask = Ask(self.limit, self.used, returned, wanted=wanted, least=least, ahead=ahead)
        if self.limit.kind != "money" or not (self.used or returned):
            return ask
        ask = replace(ask, report=secrets.randbits(62) + 1)
        self.unheard = replace(ask, wanted=0, least=0, ahead=0)
        return ask

    def _ahead(self, free: int, waited_for: bool) -> int:
        """What to ask for beside what is needed now, so that the requests to come need not ask. A
        slot comes back by itself."""
        if waited_for:
            return AHEAD * self.lately
        if self.limit.kind == "slots" or free >= self.lately:
            return 0
        return AHEAD * self.lately - free

    def granted(self, ask: Ask, grant: Grant, *, asked_at: float, now: float) -> None:
        self.unheard = None
        self.used -= ask.used
        self.held, self.rest, self.others = grant.held, grant.rest, grant.others
        self.total = grant.used
        self.until = asked_at + TERM
        self.told_at = now

    def refuse(self, needed: int, until: float) -> None:
        """So much was not to be had; asking again before a time is of no use."""
        self.refused, self.refused_until = needed, until

    def is_refused(self, needed: int, now: float) -> bool:
        return now < self.refused_until and needed >= self.refused

    def is_due(self, now: float) -> bool:
        """Whether there is anything to say, or the lease has to be renewed."""
        spare = self.free(now) > KEPT * self.lately
        unsaid = bool(self.used) or self.unheard is not None
        return unsaid or spare or (self.held > 0 and self.until - now < TERM / 2)

    def is_empty(self) -> bool:
        return not (self.held or self.reserved or self.used or self.unheard)
