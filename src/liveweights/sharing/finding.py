"""Finding a checkpoint by its id or alias, with whole weights of what it is on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from liveweights.release import aliases, ancestry
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


async def find_alias_on(conn: Connection, root: str) -> str | None:
    """The first alias whose live checkpoint began with that base; None where no one's did."""
    for alias in await aliases.read_all(conn):
        if alias.tenant is None and await ancestry.root_of(conn, alias.live) == root:
            return alias.name
    return None


async def read_card(conn: Connection, checkpoint: str) -> Mapping[str, Any]:
    """Of a registered checkpoint; empty for one that is not."""
    return (await read_cards(conn, [checkpoint])).get(checkpoint, {})
