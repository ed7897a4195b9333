"""Commands for whoever keeps the checkpoints: prune, verify, sign, make-key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from liveweights.access.audit import Event
from liveweights.access.commands import note
from liveweights.cli.context import HOME, Home, Json, Settings, query, read_config, refuse, write
from liveweights.cli.output import say, show, show_json
from liveweights.config import Config
from liveweights.release import retention
from liveweights.store.database import Connection
from liveweights.weights import registry, signing
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import Registry, Tampered

Ids = Annotated[list[str] | None, typer.Argument(help="Checkpoint ids; default: all on disk.")]


def prune(
    home: Home = HOME,
    config: Settings = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Remove the files of checkpoints that nothing needs, by the policy in `retention`.

    What an alias, a canary, an open cycle or a rollback needs is never removed.
    """
    settings = read_config(config, home)
    stored = Registry(home.resolve() / "checkpoints")

    async def look(conn: Connection) -> list[retention.Doomed]:
        return await retention.find_doomed(conn, stored, settings.retention)

    async def also(conn: Connection, one: retention.Doomed) -> None:
        await note(conn, Event("prune checkpoint", one.id, {"why": one.why}))

    async def work(conn: Connection) -> list[retention.Doomed]:
        await retention.remove_work(conn, home.resolve(), settings.retention.cycles)
        return await retention.prune(
            conn, stored, settings.cache_folder(), settings.retention, also=also
        )

    found = query(settings, home, look) if dry_run else write(settings, home, work)
    doomed = [msgspec.to_builtins(one) for one in found]
    if as_json:
        show_json(doomed)
        return
    show(doomed, ("id", "size", "why"), False)
    done = "would go" if dry_run else "gone"
    say(f"{len(doomed)} checkpoints, {sum(one['size'] for one in doomed) / 1e6:.1f} MB {done}")


def verify(ids: Ids = None, home: Home = HOME, config: Settings = None) -> None:
    """Check files against ids, and signatures where `signing` names a public key.

    Bases too: weights, configuration, tokenizer, template and generation config. What was changed
    is named, and the command ends with status 1; with 2 where there is nothing to check.
    """
    settings = read_config(config, home)
    key = settings.signing.public_key
    public = Path(key).expanduser() if key else None
    bases = {base.id: (base, files) for base, files in _read_bases(settings, home)}
    wanted = ids or [*bases, *_list_stored(home)]
    if not wanted:
        raise _refuse_nothing(home)
    bad = 0
    for id_ in wanted:
        base, files = bases.get(id_, (None, None))
        checkpoint = base or _load(home, id_)
        try:
            # A base has no card in its folder, which is somebody else's: it is in the database.
            registry.verify(checkpoint, files)
            signing.check_signature(checkpoint, public)
        except (Tampered, signing.SigningUnavailable) as error:
            bad += 1
            say(str(error), fg="red", err=True)
        else:
            say(f"{checkpoint.id}: as it was made")
    if bad:
        raise typer.Exit(1)


def sign(ids: Ids = None, home: Home = HOME, config: Settings = None) -> None:
    """Sign checkpoints that were made before there was a key. Each is verified first."""
    settings = read_config(config, home)
    if not settings.signing.key:
        raise refuse("[signing] names no key; `liveweights make-key` makes one")
    wanted = ids or _list_stored(home)
    if not wanted:
        raise _refuse_nothing(home)
    for id_ in wanted:
        checkpoint = _load(home, id_)
        try:
            registry.verify(checkpoint)
            signing.sign(checkpoint.folder, Path(settings.signing.key).expanduser())
        except (Tampered, signing.SigningUnavailable, OSError, ValueError) as error:
            raise refuse(str(error)) from error
        say(f"{checkpoint.id}: signed")


def make_key(
    path: Annotated[Path, typer.Argument(help="Where the private key goes; .pub is put beside.")],
) -> None:
    """Make the key pair that checkpoints are signed and verified with."""
    try:
        public = signing.make_keys(path)
    except OSError as error:
        raise refuse(str(error)) from error
    for line in ("[signing]", f"key = {str(path)!r}", f"public_key = {str(public)!r}"):
        say(line)


def _list_stored(home: Path) -> list[str]:
    return Registry(home.resolve() / "checkpoints").checkpoints()


def _refuse_nothing(home: Path) -> typer.Exit:
    return refuse(
        f"there is no checkpoint in {home}: is it the --home of a service that has learnt?"
    )


def _load(home: Path, id_: str) -> Checkpoint:
    try:
        return Registry(home.resolve() / "checkpoints").load(id_)
    except LookupError as error:
        raise refuse(str(error)) from error


def _read_bases(config: Config, home: Path) -> list[tuple[Checkpoint, dict[str, str]]]:
    """None where there is no database: checkpoints that were copied can be verified anywhere."""
    if config.database_url() is None and not (home / "postgres").exists():
        return []
    return query(config, home, registry.read_bases)
