"""An alias on another base: a cycle that relearns its feedback there and tries the outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from liveweights.cycle import ledger
from liveweights.cycle.bases import Switch, read_switch
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.settings import WorkerSettings
from liveweights.gate.verdict import Verdict
from liveweights.release import aliases, ancestry, moves
from liveweights.release.alias import Alias, AliasError
from liveweights.store.database import Connection


def note_switch(switch: Switch) -> dict[str, object]:
    """The beginning of ``Cycle.learning`` of a cycle that takes an alias to another base."""
    return {"switch": msgspec.to_builtins(switch)}


def passes(verdict: Verdict) -> bool:
    """Whether a gate lets users try another base. That it is better is not asked for: somebody
    wants it for other reasons. Evidence of harm is enough against it."""
    return verdict.outcome in ("PASS", "INCONCLUSIVE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is known when an alias is to go over to another base.

    ``stands`` is the base that it has, ``asked`` the one that is wanted, None where it is not at
    hand, and ``absent`` says why. ``denied`` are the rules of use that do not allow it, by action.
    ``chats`` says that the alias answers chats, ``can_chat`` that the wanted base could.
    """

    alias: str
    model: str
    stands: str
    asked: str | None
    absent: str = ""
    denied: Mapping[str, str] = field(default_factory=dict[str, str])
    chats: bool = False
    can_chat: bool = True
    open: Cycle | None = None


Begins = Literal["begins", "goes on"]


class Refused(ValueError):
    """An alias does not go over to a base; the message says why and what to do."""


def decide(wish: Wish) -> Begins:
    """Whether a switch begins, or the same one is under way already. Pure. Raises Refused."""
    if wish.asked is None:
        raise Refused(f"{wish.model} is not at hand: {wish.absent}")
    if wish.asked == wish.stands:
        raise Refused(f"{wish.alias!r} stands on {wish.asked} already")
    for action, rule in wish.denied.items():
        raise Refused(f"terms do not allow to {action} {wish.model}: {rule}")
    if wish.chats and not wish.can_chat:
        raise Refused(
            f"{wish.alias!r} answers chats, and {wish.model} has no chat template to put them in"
        )
    if wish.open is not None and (under_way := read_switch(wish.open)) is not None:
        if under_way.base == wish.asked:
            return "goes on"
        raise Refused(
            f"cycle {wish.open.id} takes {wish.alias!r} to {under_way.model}:"
            f" `liveweights switch {wish.alias} --back` ends that first"
        )
    return "begins"


async def begin(conn: Connection, settings: WorkerSettings, switch: Switch) -> Cycle:
    """Open the cycle that takes the alias to another base, in the caller's transaction. One that
    is open is cancelled: what it learns would be on the former base. Raises UnknownAlias."""
    alias = settings.alias
    if await ledger.current(conn, alias) is not None:
        await ledger.cancel(conn, alias, f"{alias} goes to {switch.model}: {switch.reason}")
    learn = msgspec.to_builtins(settings.learn)
    return await ledger.begin_switch(conn, alias, learn, note_switch(switch))


async def go_back(conn: Connection, alias: str, *, reason: str) -> Alias:
    """Let the alias stand where it did before its last switch, with what it had learnt there; a
    switch that is under way is ended. Raises AliasError where there was none."""
    async with conn.transaction():
        open_ = await ledger.current(conn, alias)
        if open_ is not None and read_switch(open_) is not None:
            await ledger.cancel(conn, alias, reason)
            return await aliases.read(conn, alias)
        before = await aliases.read(conn, alias)
        root = await ancestry.root_of(conn, before.live)
        for cycle in await ledger.switches(conn, alias):
            switch = read_switch(cycle)
            if cycle.outcome == "promoted" and switch is not None and switch.base == root:
                if open_ is not None:
                    await ledger.cancel(conn, alias, reason)
                return await moves.switch(conn, alias, switch.former, reason=reason)
    raise AliasError(
        f"no switch brought {alias!r} to {root}: there is nothing to go back to;"
        f" `liveweights switch {alias} BASE` is how it gets another base"
    )
