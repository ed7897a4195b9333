"""The steps of a cycle: each does something that may be done twice, and commits the next state."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from liveweights.cycle.gating import Gating
from liveweights.cycle.learning import Learning
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.trying import Trying
from liveweights.cycle.workshop import Workshop
from liveweights.release import aliases

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Steps:
    """Takes one alias's cycles from state to state."""

    shop: Workshop
    learning: Learning = field(init=False)
    gating: Gating = field(init=False)
    trying: Trying = field(init=False)

    def __post_init__(self) -> None:
        self.learning = Learning(self.shop)
        self.gating = Gating(self.shop)
        self.trying = Trying(self.shop)

    async def take(self, cycle: Cycle) -> Cycle:
        """Do what the cycle's state asks for; the cycle then."""
        steps: dict[str, Callable[[Cycle], Awaitable[Cycle]]] = {
            "claiming": self.learning.claim_feedback,
            "learning": self.learning.learn,
            "calibrating": self.gating.calibrate_silence,
            "warming": self.gating.warm,
            "gating": self.gating.judge,
            "canary": self.trying.look,
        }
        if cycle.state != "canary":
            async with self.shop.pool.connection() as conn:
                alias = await aliases.read(conn, cycle.alias)
            if alias.live != cycle.incumbent:
                reason = f"{alias.live} is live now, not {cycle.incumbent}, from which it learns"
                return await self.shop.end(cycle, "rejected", reason)
        after = await steps[cycle.state](cycle)
        if after.state != cycle.state:
            log.info(
                "cycle %d: %s -> %s %s", cycle.id, cycle.state, after.state, after.reason or ""
            )
        return after
