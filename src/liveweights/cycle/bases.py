"""Which bases an alias stands on and was taken to, by the cycles that switched it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from liveweights.cycle import ledger
from liveweights.cycle.ledger import Cycle
from liveweights.release import aliases, ancestry
from liveweights.store.database import Connection


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """From the base ``former`` to ``base``, both ids of registered checkpoints; ``model`` and
    ``former_model`` are what settings call them."""

    base: str
    model: str
    former: str
    former_model: str
    reason: str


def read_switch(cycle: Cycle) -> Switch | None:
    """Where the cycle takes its alias; None for one that stays on its base."""
    told = (cycle.learning or {}).get("switch")
    return None if told is None else msgspec.convert(told, Switch)


@dataclass(frozen=True, slots=True)
class Standing:
    """The bases of an alias: the one that it ``stands`` on, and the one that it is taken to
    (``tries``), if there is one. ``models`` is what settings call them, as far as a switch has
    said."""

    stands: str
    tries: str | None
    models: Mapping[str, str]


async def read_bases(conn: Connection) -> dict[str, Standing]:
    """Of every alias that was ever switched, or is being."""
    told: dict[str, list[Cycle]] = {}
    for cycle in await ledger.switches(conn):
        told.setdefault(cycle.alias, []).append(cycle)
    bases: dict[str, Standing] = {}
    for name, cycles in told.items():
        alias = await aliases.read(conn, name)
        stands = await ancestry.root_of(conn, alias.live)
        if stands is not None:
            bases[name] = Standing(stands, *_read_models(cycles))
    return bases


def _read_models(cycles: Iterable[Cycle]) -> tuple[str | None, dict[str, str]]:
    """What is tried, and what bases are called, by the newest that names them."""
    tries: str | None = None
    models: dict[str, str] = {}
    for cycle in cycles:
        switch = read_switch(cycle)
        if switch is None:
            continue
        if cycle.state != "ended":
            tries = switch.base
        models.setdefault(switch.base, switch.model)
        models.setdefault(switch.former, switch.former_model)
    return tries, models
