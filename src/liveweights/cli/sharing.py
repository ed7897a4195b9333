"""``liveweights import-adapter``: taking in what others learnt."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from liveweights.cli.context import HOME, Home, Settings, query, read_config, refuse
from liveweights.cli.output import say
from liveweights.config import Config
from liveweights.release import aliases
from liveweights.release.alias import UnknownAlias
from liveweights.store.database import Connection
from liveweights.weights import hub, signing
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.foreign import Foreign, ForeignError, check_adapter, copy_adapter
from liveweights.weights.registry import Registry, get, register


def import_adapter(
    source: Annotated[
        str, typer.Argument(help="A PEFT folder, or hf://ORG/NAME@COMMIT; LoRA as safetensors.")
    ],
    base: Annotated[
        str, typer.Option(help="What it was made on: the id of a base, or an alias that has it.")
    ],
    licence: Annotated[str, typer.Option(help="What it may be used for; kept in its card.")],
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Take in an adapter that somebody else made: checked against the base, stored by its content,
    registered, and signed if there is a key. Nothing of it is run.

    Pickles, adapters on another base and adapters that change nothing are refused. It answers
    nobody yet: `liveweights canary start` tries it on live traffic.
    """
    settings = read_config(config)
    key = settings.signing.key
    sign = partial(signing.sign, private=Path(key).expanduser()) if key else None
    registry = Registry(home.resolve() / "checkpoints", sign)

    async def ask(conn: Connection) -> tuple[Checkpoint, Foreign]:
        on = await _find_base(conn, base)
        folder = _find(source, settings)
        foreign = check_adapter(folder, on.folder, on.id)
        card = {
            "origin": f"imported from {source}",
            "licence": licence,
            "foreign": True,
            "rank": foreign.rank,
            "says_base": foreign.names_base,
        }
        with tempfile.TemporaryDirectory() as staging:
            copy_adapter(folder, Path(staging))
            stored = registry.store(
                Path(staging), on.name, kind="adapter", base=on.id, parent=on.id, card=card
            )
        await register(conn, stored)
        return stored, foreign

    try:
        stored, foreign = query(settings, home, ask)
    except (OSError, ValueError, signing.SigningUnavailable) as error:
        raise refuse(f"{source}: {error}") from error
    if foreign.names_base:
        say(f"it says that it was made on {foreign.names_base}, which proves nothing")
    say(f"{stored.id} is registered: rank {foreign.rank}, {foreign.modules} modules")
    say(f"try it: liveweights canary start {stored.id} --reason ...")


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
