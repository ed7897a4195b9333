"""What somebody does with a canary by hand, with all that is known of it at that moment."""

from __future__ import annotations

from liveweights.cycle import ledger, live
from liveweights.gate.settings import GateSettings
from liveweights.learn.rewards import RewardMap
from liveweights.release import aliases
from liveweights.release.alias import Alias, AliasError
from liveweights.release.rollout import Move
from liveweights.release.settings import CanarySettings
from liveweights.store.database import Connection


async def override(
    conn: Connection,
    name: str,
    move: Move,
    *,
    rewards: RewardMap,
    canary: CanarySettings,
    gate: GateSettings,
) -> Alias:
    """Carry the move out on the canary of the alias ``name``; its reason and the evidence are kept
    with the release. Raises AliasError, also where there is no canary, and IllegalMove."""
    alias = await aliases.read(conn, name)
    if alias.canary is None:
        raise AliasError(f"{alias.name!r} has no canary")
    cycle = await ledger.current(conn, alias.name)
    judged = await live.weigh(conn, alias, rewards=rewards, canary=canary, gate=gate)
    return await live.act(
        conn,
        alias,
        move,
        canary,
        cycle=cycle.id if cycle else None,
        evidence=live.describe(judged.look, canary),
    )
