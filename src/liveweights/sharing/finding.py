"""Finding a checkpoint by its id or alias, with whole weights of what it is on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from liveweights.release import aliases, ancestry, lineage
from liveweights.release.alias import UnknownAlias
from liveweights.sharing.source import Source
from liveweights.store.database import Connection
from liveweights.weights import signing
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import HASHES
from liveweights.weights.registry import get, read_cards
from liveweights.weights.whole import make_whole


async def find_checkpoint(conn: Connection, subject: str) -> Checkpoint:
    """By its id, or what is live under an alias. Raises NotRegistered."""
    try:
        return await get(conn, (await aliases.read(conn, subject)).live)
    except UnknownAlias:
        return await get(conn, subject)


async def find_source(
    conn: Connection, subject: str, cache: Path, public: Path | None = None
) -> Source:
    """A checkpoint and what it is on, each checked against its id and, with a ``public`` key, its
    signature. Raises NotRegistered, Tampered, SigningUnavailable, DeltaError."""
    checkpoint = await find_checkpoint(conn, subject)
    base = checkpoint
    if checkpoint.kind == "adapter" and checkpoint.base is not None:
        base = await get(conn, checkpoint.base)
    root = await get(conn, await ancestry.root_of(conn, checkpoint.id) or base.id)
    for one in dict.fromkeys((checkpoint, base, root)):
        signing.check(one, public, cache / HASHES)
    base, root = [await make_whole(one, partial(get, conn), cache) for one in (base, root)]
    whole = checkpoint if checkpoint.kind == "adapter" else base
    return Source(checkpoint=whole, base=base, root=root)


async def find_models(conn: Connection, subject: str, source: Source) -> list[str]:
    """The public names that the rules of use know what ``subject`` stands for by: an alias's own;
    of a checkpoint those that it was released for, else those of all that stood on its base."""
    try:
        return [(await aliases.read(conn, subject)).model]
    except UnknownAlias:
        released = await lineage.models_of(conn, source.checkpoint.id)
        return released or await lineage.models_on(conn, source.root.id)


async def stands_on(conn: Connection, alias: str, root: str) -> bool:
    """Whether what is live under the alias, if there is one, began with that base."""
    try:
        return await ancestry.root_of(conn, (await aliases.read(conn, alias)).live) == root
    except UnknownAlias:
        return False


async def read_card(conn: Connection, checkpoint: str) -> Mapping[str, Any]:
    """Of a registered checkpoint; empty for one that is not."""
    return (await read_cards(conn, [checkpoint])).get(checkpoint, {})
