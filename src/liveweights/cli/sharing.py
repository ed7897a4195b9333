"""``liveweights import-checkpoint``: taking in what others learnt."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from liveweights.access.audit import Event
from liveweights.cli.context import HOME, Home, Settings, change, read_config, refuse
from liveweights.cli.output import say
from liveweights.config import Config
from liveweights.release import aliases
from liveweights.release.alias import UnknownAlias
from liveweights.store.database import Connection
from liveweights.weights import hub, signing
from liveweights.weights.checkpoint import Checkpoint, Kind
from liveweights.weights.foreign import CONFIG, ForeignError, check_adapter, copy_adapter
from liveweights.weights.registry import Registry, get, register


def import_checkpoint(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder, or hf://ORG/NAME@COMMIT: LoRA as PEFT has it, or whole weights."
        ),
    ],
    base: Annotated[
        str, typer.Option(help="What it was made on: the id of a base, or an alias that has it.")
    ],
    licence: Annotated[str, typer.Option(help="What it may be used for; kept in its card.")],
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Take in an adapter or whole weights that somebody else made: checked against the base, stored
    by their content, registered, and signed if there is a key. Nothing of it is run.

    Pickles, what was made on another base, and what changes nothing are refused. What Transformers
    compute with it is kept, so that an engine that computes something else is found out. It answers
    nobody yet: `liveweights canary start --gate` judges it and tries it on live traffic.
    """
    settings = read_config(config, home)
    key = settings.signing.key
    sign = partial(signing.sign, private=Path(key).expanduser()) if key else None
    registry = Registry(home.resolve() / "checkpoints", sign)

    async def do(conn: Connection) -> tuple[tuple[Checkpoint, _Taken], Event | None]:
        on = await _find_base(conn, base)
        folder = _find(source, settings)
        # A card leaves with its checkpoint: no path of this machine is in it.
        name = source if source.startswith(hub.SCHEME) else folder.name
        card = {"origin": f"imported from {name}", "licence": licence, "foreign": True}
        with tempfile.TemporaryDirectory() as staging:
            if (folder / CONFIG).is_file():
                taken = _take_adapter(folder, on, Path(staging))
            else:
                taken = _take_weights(folder, on, Path(staging))
            await asyncio.to_thread(_probe, on, Path(staging), taken.kind, settings)
            stored = registry.store(
                Path(staging),
                on.name,
                kind=taken.kind,
                base=on.id,
                parent=on.id,
                card={**card, **taken.card},
            )
        if not await register(conn, stored):
            return (stored, taken), None
        return (stored, taken), Event("import checkpoint", stored.id, {**card, "base": on.id})

    try:
        stored, taken = change(settings, home, do)
    except (OSError, ValueError, signing.SigningUnavailable) as error:
        raise refuse(f"{source}: {error}") from error
    if named := taken.card.get("says_base"):
        say(f"it says that it was made on {named}, which proves nothing")
    say(f"{stored.id} is registered: {taken.told}")
    say(f"try it: liveweights canary start {stored.id} --gate --reason ...")


@dataclass(frozen=True, slots=True)
class _Taken:
    """What was staged: its kind, what its card says of it, and in a few words what it is."""

    kind: Kind
    card: Mapping[str, object]
    told: str


def _take_adapter(folder: Path, on: Checkpoint, staging: Path) -> _Taken:
    foreign = check_adapter(folder, on.folder, on.id)
    copy_adapter(folder, staging)
    return _Taken(
        "adapter",
        {"rank": foreign.rank, "says_base": foreign.names_base},
        f"rank {foreign.rank}, {foreign.modules} modules",
    )


def _take_weights(folder: Path, on: Checkpoint, staging: Path) -> _Taken:
    # It reads and writes tensors, for which torch is imported.
    from liveweights.sharing.finetuned import take_finetuned

    tuned = take_finetuned(folder, on, staging)
    alike = "" if tuned.likeness is None else f", correlation {tuned.likeness:.3f} with the base's"
    return _Taken(
        "full",
        {"changed": tuned.changed, "values": tuned.values},
        f"{tuned.changed:,} of {tuned.values:,} weights differ{alike}",
    )


def _probe(on: Checkpoint, staging: Path, kind: Kind, settings: Config) -> None:
    # Torch and Transformers are slow to import: only where they are needed.
    from liveweights.sharing.probing import write_probes

    write_probes(on.folder, staging, kind, settings.learn, settings.template)


def _find(source: str, settings: Config) -> Path:
    """The folder of what is to be taken in. Raises HubError, ForeignError."""
    if source.startswith(hub.SCHEME):
        return hub.download(hub.Address.parse(source), settings.cache_folder())
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise ForeignError("there is no such folder")
    return folder


async def _find_base(conn: Connection, name: str) -> Checkpoint:
    """A base by its id, or that of an alias. Raises NotRegistered, ForeignError."""
    try:
        live = await get(conn, (await aliases.read(conn, name)).live)
    except UnknownAlias:
        live = await get(conn, name)
    if live.kind == "adapter" and live.base is not None:
        live = await get(conn, live.base)
    if live.kind != "base":
        raise ForeignError(f"{live.id} is no base but {live.kind} weights that were learnt here")
    return live
