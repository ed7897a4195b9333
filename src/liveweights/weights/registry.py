"""Checkpoints on disk, named by their content, and in the database."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb

from liveweights.store.database import Connection
from liveweights.weights.checkpoint import Checkpoint, Kind
from liveweights.weights.content import (
    changes,
    content_id,
    hash_files,
    source_files,
    weight_files,
)
from liveweights.weights.staging import publish, staged

CARD = "card.json"
README = "README.md"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class RegistryError(ValueError):
    """What is to be stored is not a checkpoint; the message says what is missing."""


class Tampered(RegistryError):
    """A stored checkpoint is not what its id says; the message names the file."""


class NotRegistered(LookupError):
    """No checkpoint of that id is known to the database."""


class Registry:
    """Content-addressed folders ``<folder>/<id>/``.

    A checkpoint's folder is made under a hidden name, flushed to disk and renamed, so that it is
    whole or not there. ``card.json`` says where it came from and holds the SHA-256 of every file
    that its id covers. ``sign`` is given each whole folder before it gets its name.
    """

    def __init__(self, folder: Path, sign: Callable[[Path], None] | None = None) -> None:
        self.folder = folder
        self._sign = sign

    def store(
        self,
        staging: Path,
        name: str,
        *,
        kind: Kind,
        base: str | None,
        parent: str | None,
        card: Mapping[str, Any],
    ) -> Checkpoint:
        """Copy the files of ``staging`` into the registry and name them by their content.

        Storing the same content again returns what is there. ``card`` should hold cycle, data
        window, code version, licence and origin. Raises RegistryError where weights or an
        adapter's configuration or base are missing.
        """
        if not NAME.fullmatch(name):
            raise RegistryError(f"checkpoint name {name!r} is not of the form {NAME.pattern}")
        if kind == "adapter" and base is None:
            raise RegistryError("an adapter needs the id of its base checkpoint")
        with staged(self.folder / "incoming") as temporary:
            made = temporary / "checkpoint"
            shutil.copytree(staging, made)
            files = _hash(made)
            if kind == "adapter" and "adapter_config.json" not in files:
                raise RegistryError(f"{staging} has no adapter_config.json; is it a PEFT folder?")
            id_ = f"{name}@{content_id(files, base)}"
            checkpoint = Checkpoint(id_, kind, self.folder / id_, base, parent)
            whole = {
                **card,
                "id": checkpoint.id,
                "kind": kind,
                "base": base,
                "parent": parent,
                "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
                "files": files,
            }
            (made / CARD).write_text(json.dumps(whole, indent=2) + "\n")
            (made / README).write_text(describe(whole), encoding="utf-8")
            if self._sign:
                self._sign(made)
            _flush(made)
            try:
                publish(made, checkpoint.folder)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                return self.load(checkpoint.id)  # the same content was stored before
            _flush(self.folder)
        return checkpoint

    def load(self, checkpoint_id: str) -> Checkpoint:
        """A stored checkpoint by its id. Raises NotRegistered."""
        folder = self.folder / checkpoint_id
        try:
            card = json.loads((folder / CARD).read_text())
        except FileNotFoundError:
            raise NotRegistered(f"no checkpoint {checkpoint_id} in {self.folder}") from None
        return Checkpoint(checkpoint_id, card["kind"], folder, card["base"], card["parent"])

    def checkpoints(self) -> list[str]:
        """Ids of everything that is stored, in order of name."""
        if not self.folder.is_dir():
            return []
        return sorted(f.parent.name for f in self.folder.glob(f"[!.]*/{CARD}"))

    def remove(self, checkpoint_id: str) -> int:
        """Take a checkpoint's files away; the bytes that were freed, 0 where there were none.

        Its folder loses its name first, so that it is whole or not there.
        """
        folder, gone = self.folder / checkpoint_id, self.folder / f".removed.{checkpoint_id}"
        try:
            folder.rename(gone)
        except FileNotFoundError:
            return 0
        size = size_of(gone)
        shutil.rmtree(gone)
        return size

    def sweep(self, older_than: float = 3600.0) -> list[str]:
        """Remove what a crash left half-written or half-removed more than so many seconds ago; its
        names."""
        removed: list[str] = []
        for folder in (*self.folder.glob(".incoming.*"), *self.folder.glob(".removed.*")):
            try:
                age = time.time() - folder.stat().st_mtime
            except FileNotFoundError:
                continue  # its writer has just finished
            if age >= older_than:
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder.name)
        return removed


def describe(card: Mapping[str, Any]) -> str:
    """A checkpoint's README: what it is, on what, from where, and under which licence, in the form
    that model hubs read."""
    kind = {"adapter": "A LoRA adapter", "full": "All weights, as a difference,"}.get(card["kind"])
    licence, origin = card.get("licence", "unknown"), card.get("origin", "unknown")
    head = ["---", f"license: {licence}", "---"] if re.fullmatch(r"[\w.-]+", licence) else []
    return "\n".join(
        [
            *head,
            f"# {card['id']}",
            "",
            f"{kind or 'A checkpoint'} on `{card['base'] or 'nothing'}`.",
            "",
            f"- learnt: {origin}",
            f"- goes on from: `{card['parent'] or 'nothing'}`",
            f"- made: {card['created_at']}",
            f"- licence: {licence}, that of what it is on",
            "",
            f"`{CARD}` holds the report of the update, and the SHA-256 of every file that the id"
            " covers.",
            "",
        ]
    )


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def verify(checkpoint: Checkpoint, listed: Mapping[str, str] | None = None) -> None:
    """Check every file that a checkpoint's id covers against the hashes ``listed`` by its card
    (by default that in its folder), and the card against the id.

    Raises Tampered, naming the file. Reads all weights: about a second per 500 MB.
    """
    try:
        if listed is None:
            card: dict[str, Any] = json.loads((checkpoint.folder / CARD).read_text())
            listed = dict(card["files"])
        hashes = _hash(checkpoint.folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Tampered(f"{checkpoint.id}: card or weights cannot be read: {error}") from error
    for name, what in changes(listed, hashes):
        raise Tampered(f"{checkpoint.id}: {checkpoint.folder / name} was {what}")
    if checkpoint.id.rpartition("@")[2] != content_id(hashes, checkpoint.base):
        raise Tampered(f"{checkpoint.id}: the card is of other weights")


def is_named_by_content(base: Checkpoint, hash_folder: Path | None = None) -> bool:
    """Whether a base's id is that of its files; ``hash_folder`` as in ``hash_files``."""
    try:
        return base.id.rpartition("@")[2] == content_id(hash_files(base.folder, hash_folder))
    except (OSError, ValueError):
        return False


def _hash(folder: Path) -> dict[str, str]:
    if not weight_files(folder) and not source_files(folder):
        raise RegistryError(f"{folder} holds no .safetensors file")
    return hash_files(folder)


async def register(
    conn: Connection, checkpoint: Checkpoint, card: Mapping[str, Any] | None = None
) -> bool:
    """Tell the database of a checkpoint; ``card`` is read from its folder where None. Whether that
    changed anything.

    Doing it again only notes where the folder is now, and that what was pruned is there again.
    Raises NotRegistered where base or parent are not known yet.
    """
    if card is None:
        card = json.loads((checkpoint.folder / CARD).read_text())
    # Looked for, and not left to the constraints: a savepoint that is the first statement of a
    # connection is a transaction, and would be committed whatever its caller does next.
    wanted = sorted({one for one in (checkpoint.base, checkpoint.parent) if one is not None})
    cursor = await conn.execute(
        "select id from unnest(%s::text[]) id where id not in (select c.id from checkpoints c)"
        " order by 1",
        (wanted,),
    )
    if missing := [id_ for (id_,) in await cursor.fetchall()]:
        raise NotRegistered(
            f"{checkpoint.id} cannot be registered before its base and parent:"
            f" {' and '.join(missing)} is not known"
        )
    cursor = await conn.execute(
        "insert into checkpoints (id, kind, folder, base, parent, card)"
        " values (%s, %s, %s, %s, %s, %s)"
        " on conflict (id) do update set folder = excluded.folder, pruned_at = null"
        " where checkpoints.folder <> excluded.folder or checkpoints.pruned_at is not null",
        (
            checkpoint.id,
            checkpoint.kind,
            str(checkpoint.folder),
            checkpoint.base,
            checkpoint.parent,
            Jsonb(card),
        ),
    )
    return cursor.rowcount > 0


async def register_parents(
    conn: Connection, checkpoint_id: str, parts: Mapping[str, float]
) -> None:
    """Tell the database what a registered merge was made of, and with which weights; doing it again
    changes nothing."""
    for parent, part in parts.items():
        await conn.execute(
            "insert into checkpoint_parents (checkpoint, parent, part) values (%s, %s, %s)"
            " on conflict do nothing",
            (checkpoint_id, parent, part),
        )


async def read_parents(conn: Connection, checkpoint_id: str) -> set[str]:
    """What a checkpoint was made from, and is on."""
    cursor = await conn.execute("select parent from descent where id = %s", (checkpoint_id,))
    return {parent for (parent,) in await cursor.fetchall()}


async def get(conn: Connection, checkpoint_id: str) -> Checkpoint:
    """A registered checkpoint. Raises NotRegistered."""
    cursor = await conn.execute(
        "select id, kind, folder, base, parent from checkpoints where id = %s", (checkpoint_id,)
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotRegistered(
            f"no checkpoint {checkpoint_id!r} is registered; `liveweights checkpoints` lists them"
        )
    return Checkpoint(row[0], row[1], Path(row[2]), row[3], row[4])


async def get_on_base(conn: Connection, checkpoint_id: str) -> tuple[Checkpoint, Checkpoint]:
    """A registered checkpoint, and what its adapter is on: itself where it is none. Raises
    NotRegistered."""
    checkpoint = await get(conn, checkpoint_id)
    if checkpoint.kind == "adapter" and checkpoint.base is not None:
        return checkpoint, await get(conn, checkpoint.base)
    return checkpoint, checkpoint


async def read_licence(conn: Connection, checkpoint_id: str) -> str:
    """The licence that a registered checkpoint's card names; ``unknown`` where it names none."""
    cursor = await conn.execute(
        "select coalesce(card->>'licence', 'unknown') from checkpoints where id = %s",
        (checkpoint_id,),
    )
    row = await cursor.fetchone()
    return row[0] if row else "unknown"


async def unregister(conn: Connection, checkpoint_id: str) -> None:
    """Forget a checkpoint. Raises ForeignKeyViolation where something refers to it."""
    await conn.execute("delete from checkpoints where id = %s", (checkpoint_id,))


async def mark_pruned(conn: Connection, checkpoint_id: str) -> None:
    """Note that a checkpoint's files are gone or going, so that no alias takes it any more."""
    await conn.execute("update checkpoints set pruned_at = now() where id = %s", (checkpoint_id,))


async def read_owners(conn: Connection) -> list[str]:
    """The tenants from whose feedback alone a checkpoint has learnt that is not pruned."""
    cursor = await conn.execute(
        "select distinct tenant from checkpoints where tenant is not null and pruned_at is null"
        " order by tenant"
    )
    return [tenant for (tenant,) in await cursor.fetchall()]


async def mark_owned_pruned(conn: Connection, tenant: str) -> list[str]:
    """Note the same of all that has learnt from a tenant alone; the ids."""
    cursor = await conn.execute(
        "update checkpoints set pruned_at = coalesce(pruned_at, now()) where tenant = %s"
        " returning id",
        (tenant,),
    )
    return sorted([id for (id,) in await cursor.fetchall()])


async def read_pruned(conn: Connection) -> list[str]:
    """Ids of those that are marked so."""
    cursor = await conn.execute("select id from checkpoints where pruned_at is not null")
    return [id for (id,) in await cursor.fetchall()]


async def read_bases(conn: Connection) -> list[tuple[Checkpoint, dict[str, str]]]:
    """Every registered base, and the SHA-256 of each of its files when it was."""
    cursor = await conn.execute(
        "select id, folder, coalesce(card->'files', '{}') from checkpoints where kind = 'base'"
        " order by created_at"
    )
    rows = await cursor.fetchall()
    return [(Checkpoint(id, "base", Path(folder)), files) for id, folder, files in rows]


async def read_cards(conn: Connection, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The cards of registered checkpoints, by their ids; none of those that are not."""
    cursor = await conn.execute("select id, card from checkpoints where id = any(%s)", (list(ids),))
    return dict(await cursor.fetchall())


def _flush(folder: Path) -> None:
    """Make the folder's list of names durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
