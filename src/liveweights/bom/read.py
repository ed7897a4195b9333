"""Facts for bills of materials out of the service's database and its folders."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from liveweights.bom.facts import (
    Alias,
    Bill,
    Hosted,
    Model,
    Package,
    Service,
    Window,
    newest_of,
)
from liveweights.bom.merkle import Inclusion, hash_reaction, prove, root_of
from liveweights.bom.metrics import list_metrics
from liveweights.bom.origin import find_origin
from liveweights.catalog.catalogue import Catalogue
from liveweights.store.database import Connection
from liveweights.store.migrate import read_beginning
from liveweights.weights.registry import NotRegistered, read_cards

CHAIN = """
with recursive chain as (
    select id from ancestry where id = any(%(ids)s)
    union
    select d.parent from descent d join chain c on d.id = c.id
)
select a.id, a.kind, a.created_at, a.base, a.parent, t.id, t.alias, t.started_at, t.ended_at,
    t.outcome, t.verdict, t.learning, s.trained, s.held_back, s.leaves
from chain one join ancestry a on a.id = one.id
left join lateral (
    -- A later cycle that learnt the same bits again did not make this checkpoint.
    select * from turns where candidate = a.id order by id limit 1
) t on true
left join sealed s on s.cycle = t.id
order by a.created_at desc, a.id
"""
STANDING = "select alias, live, canary, canary_share, model from standing order by alias"
ROOTS = "select s.alias, a.root from standing s join ancestry a on a.id = s.live order by s.alias"
REACTION = """
select r.generation, c.cycle, s.leaves
from reactions r join claimed c
    on c.day = r.day and c.generation = r.generation and c.feedback = r.seq
join sealed s on s.cycle = c.cycle
where r.tenant = %(tenant)s and r.id = %(id)s and c.cycle = any(%(cycles)s)
order by c.cycle desc limit 1
"""


class NotInBill(LookupError):
    """No cycle of the bill has read that reaction, or its row is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known beside the database: the catalogue, what the settings call each base (by
    alias), the service, its hosted models and its code. ``denied`` are models that the terms do not
    let be loaded: they answer nobody."""

    catalogue: Catalogue
    bases: Mapping[str, str]
    service: Service
    hosted: tuple[Hosted, ...] = ()
    packages: tuple[Package, ...] = ()
    denied: frozenset[str] = frozenset()


async def read_bill(conn: Connection, subject: str, known: Known) -> Bill:
    """The bill of a checkpoint, of an alias or, for an empty ``subject``, of the whole service: of
    all that answers in it, and no model that was removed or may not be loaded.

    Its time is that of its newest fact; where no checkpoint is part of it (hosted models alone),
    of the record's beginning. Raises NotRegistered for what is neither, and CatalogueError.
    """
    aliases = await read_aliases(conn)
    hosted = known.hosted
    if subject:
        aliases = tuple(one for one in aliases if one.name == subject)
        hosted = tuple(one for one in hosted if one.alias == subject)
    else:
        aliases = list_answering(aliases, known)
        hosted = tuple(one for one in hosted if one.alias not in known.denied)
    ids = [id for one in aliases for id in (one.live, one.canary) if id]
    if not ids and not hosted:
        if not subject:
            raise NotRegistered("the service has no model yet; `liveweights up` gives it one")
        ids = [subject]
    models = await read_models(conn, ids, known)
    return Bill(
        subject=subject,
        as_of=newest_of(models.values(), await read_beginning(conn)),
        service=known.service,
        models=models,
        aliases=aliases,
        hosted=hosted,
        packages=known.packages,
    )


async def read_aliases(conn: Connection) -> tuple[Alias, ...]:
    """Every alias and what answers under it, by name."""
    rows = await (await conn.execute(STANDING)).fetchall()
    return tuple(
        Alias(name=name, live=live, canary=canary, share=share, model=model)
        for name, live, canary, share, model in rows
    )


def list_answering(aliases: Iterable[Alias], known: Known) -> tuple[Alias, ...]:
    """The aliases, and branches, of models that answer."""
    return tuple(
        one for one in aliases if one.model in known.bases and one.model not in known.denied
    )


async def read_models(conn: Connection, ids: Sequence[str], known: Known) -> dict[str, Model]:
    """The checkpoints and everything that they came from, by id, the newest first.

    Raises NotRegistered, CatalogueError.
    """
    rows = await (await conn.execute(CHAIN, {"ids": list(ids)})).fetchall()
    there = {row[0] for row in rows}
    for id in ids:
        if id not in there:
            raise NotRegistered(f"no checkpoint {id!r} is registered")
    cards = await read_cards(conn, [row[0] for row in rows])
    names = await _name_bases(conn, known)
    # A root is over all reactions that its cycle read.
    return await asyncio.to_thread(_list_models, rows, cards, names, known)


async def read_inclusion(
    conn: Connection, models: Mapping[str, Model], tenant: str, feedback: str
) -> Inclusion:
    """The proof that a reaction was read by a cycle that made one of the models. Raises
    NotInBill."""
    cycles = [model.window.cycle for model in models.values() if model.window]
    cursor = await conn.execute(REACTION, {"tenant": tenant, "id": feedback, "cycles": cycles})
    row = await cursor.fetchone()
    if row is None:
        raise NotInBill(
            f"no cycle that made this read the feedback {feedback!r} of tenant {tenant!r}, or its "
            "row was archived or forgotten since"
        )
    generation, cycle, leaves = row
    try:
        index = leaves.index(hash_reaction(tenant, generation, feedback))
    except ValueError as error:
        raise NotInBill(f"feedback {feedback!r} is not among what cycle {cycle} sealed") from error
    return Inclusion(
        proof=prove(leaves, index),
        tenant=tenant,
        generation=generation,
        feedback=feedback,
        cycle=cycle,
        root=root_of(leaves).hex(),
    )


async def _name_bases(conn: Connection, known: Known) -> dict[str, list[str]]:
    """What the settings call each base that is under an alias now, by its id."""
    names: dict[str, list[str]] = {}
    for alias, root in await (await conn.execute(ROOTS)).fetchall():
        if alias in known.bases:
            names.setdefault(root, []).append(known.bases[alias])
    return names


def _list_models(
    rows: Iterable[tuple[Any, ...]],
    cards: Mapping[str, Mapping[str, Any]],
    names: Mapping[str, Iterable[str]],
    known: Known,
) -> dict[str, Model]:
    return {
        row[0]: _model(row, cards.get(row[0]) or {}, names.get(row[0], ()), known) for row in rows
    }


def _model(
    row: tuple[Any, ...], card: Mapping[str, Any], names: Iterable[str], known: Known
) -> Model:
    id, kind, created, base, parent, cycle = row[:6]
    alias, began, ended, outcome, verdict, learning, trained, held_back, leaves = row[6:]
    files: Mapping[str, str] = card.get("files") or {}
    origin = None
    if kind == "base":
        origin = find_origin(known.catalogue, files, [str(card.get("origin") or ""), *names, id])
    window = None
    if cycle is not None and leaves is not None:
        window = Window(
            cycle=cycle,
            alias=alias,
            began=began,
            ended=ended,
            trained=trained,
            held_back=held_back,
            reactions=len(leaves),
            root=root_of(leaves).hex(),
            signals=(learning or {}).get("signals") or {},
        )
    return Model(
        id=id,
        kind=kind,
        created_at=created,
        base=base,
        parent=parent,
        files=files,
        card=card,
        origin=origin,
        window=window,
        outcome=outcome,
        verdict=(verdict or {}).get("outcome"),
        reasons=tuple((verdict or {}).get("reasons", ())),
        metrics=list_metrics(verdict),
    )
