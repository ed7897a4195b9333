"""``liveweights merge``: one adapter of two."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from liveweights import bounds
from liveweights.access.audit import Event
from liveweights.cli.context import HOME, Home, Json, Settings, change, read_config, refuse
from liveweights.cli.output import say, show_json
from liveweights.sharing.method import ELSEWHERE, METHODS
from liveweights.store.database import Connection
from liveweights.weights import signing
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import Registry, read_cards, register, register_parents


def merge(
    one: Annotated[str, typer.Argument(help="An adapter, NAME@HASH, or an alias.")],
    other: Annotated[str, typer.Argument(help="Another one on the same base.")],
    method: Annotated[str, typer.Option(help=f"{', '.join(METHODS)}: as PEFT has them.")] = "svd",
    weight: Annotated[
        float,
        typer.Option(min=-bounds.WEIGHT, max=bounds.WEIGHT, help="Of the first."),
    ] = 0.5,
    other_weight: Annotated[
        float,
        typer.Option(min=-bounds.WEIGHT, max=bounds.WEIGHT, help="Of the other."),
    ] = 0.5,
    density: Annotated[
        float,
        typer.Option(min=0.001, max=1, help="Share of values that ties, dare and magnitude keep."),
    ] = 0.5,
    seed: Annotated[
        int, typer.Option(min=0, max=bounds.COUNT, help="Fixes which values dare drops.")
    ] = 0,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Merge two adapters on one base by PEFT: stored by its content, registered with both as its
    parents, and signed if there is a key.

    It answers nobody yet: `liveweights canary start --gate` judges it and tries it on live traffic.
    """
    # Torch and PEFT are slow to import: only where they are needed.
    from liveweights.sharing.finding import find_source
    from liveweights.sharing.merging import merge_adapters
    from liveweights.sharing.probing import write_probes

    if method not in METHODS:
        why = f"{ELSEWHERE[method]}. There" if method in ELSEWHERE else "there"
        raise refuse(f"--method {method}: {why} are {', '.join(METHODS)}")
    chosen = METHODS[METHODS.index(method)]
    settings = read_config(config, home)
    key = settings.signing.key
    sign = partial(signing.sign, private=Path(key).expanduser()) if key else None
    registry = Registry(home.resolve() / "checkpoints", sign)

    async def do(conn: Connection) -> tuple[tuple[Checkpoint, int], Event | None]:
        sources = [await find_source(conn, name, settings.cache_folder()) for name in (one, other)]
        first, second = (source.checkpoint for source in sources)
        if first.id == second.id:
            raise ValueError(f"both are {first.id}")
        cards = await read_cards(conn, [first.id, second.id])
        owners = {cards[part].get("tenant") for part in (first.id, second.id)}
        if len(owners) > 1:
            raise ValueError(
                "they have learnt from what different tenants said: merged, what is one tenant's"
                " own would answer others"
            )
        (owner,) = owners
        parts = {first: weight, second: other_weight}
        with tempfile.TemporaryDirectory() as staging:
            rank = merge_adapters(
                parts, sources[0].base, chosen, Path(staging), density=density, seed=seed
            )
            await asyncio.to_thread(
                write_probes,
                sources[0].base.folder,
                Path(staging),
                "adapter",
                settings.learn,
                settings.template,
            )
            merged_of = {part.id: share for part, share in parts.items()}
            stored = registry.store(
                Path(staging),
                first.name,
                kind="adapter",
                base=first.base,
                parent=first.id,
                card={
                    "origin": f"merged of {first.id} and {second.id} by {chosen}",
                    "licence": _join(cards[id].get("licence", "unknown") for id in merged_of),
                    "merged_of": merged_of,
                    "method": chosen,
                    "density": density,
                    "seed": seed,
                    "rank": rank,
                    **({"tenant": owner} if owner else {}),
                },
            )
        new = await register(conn, stored)
        await register_parents(conn, stored.id, merged_of)
        details = {"merged_of": merged_of, "method": chosen}
        return (stored, rank), Event("merge adapters", stored.id, details) if new else None

    try:
        stored, rank = change(settings, home, do)
    except (OSError, ValueError, signing.SigningUnavailable) as error:
        raise refuse(f"{one} and {other}: {error}") from error
    if as_json:
        show_json({"checkpoint": stored.id, "method": chosen, "rank": rank})
        return
    say(f"{stored.id} is registered: {one} and {other} by {chosen}, rank {rank}")
    say(f"try it: liveweights canary start {stored.id} --gate --reason ...")


def _join(licences: Iterable[str]) -> str:
    """An SPDX expression: all of them apply."""
    return " AND ".join(sorted(set(licences)))
