"""Checkpoints on disk, named by their content, and in the database."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from liveweights.catalog.checkpoint import Checkpoint, Kind
from liveweights.catalog.content import DIGITS, weight_files
from liveweights.catalog.staging import publish, staged
from liveweights.store.database import Connection

CARD = "card.json"
CONFIGS = ("adapter_config.json", "config.json", "model.safetensors.index.json")
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
    that its id covers: weights and configuration. ``sign`` is given each whole folder before it
    gets its name.
    """

    def __init__(self, folder: Path, sign: Callable[[Path], None] | None = None) -> None:
        self.folder = folder
        self._sign = sign

    def store(
        self,
        staging: Path,
        name: str,
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
            files = hash_files(made)
            if kind == "adapter" and "adapter_config.json" not in files:
                raise RegistryError(f"{staging} has no adapter_config.json; is it a PEFT folder?")
            checkpoint = Checkpoint(
                id=f"{name}@{content_id(files)}",
                kind=kind,
                folder=self.folder / f"{name}@{content_id(files)}",
                base=base,
                parent=parent,
            )
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


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def verify(checkpoint: Checkpoint) -> None:
    """Check every file of a stored checkpoint against its card, and the card against the id.

    Raises Tampered, naming the file. Reads all weights: about a second per 500 MB.
    """
    try:
        listed: dict[str, str] = json.loads((checkpoint.folder / CARD).read_text())["files"]
        found = hash_files(checkpoint.folder)
    except (OSError, ValueError, KeyError) as error:
        raise Tampered(f"{checkpoint.id}: card or weights cannot be read: {error}") from error
    for name in sorted(listed.keys() | found.keys()):
        if listed.get(name) != found.get(name):
            what = "missing" if name not in found else "added" if name not in listed else "changed"
            raise Tampered(f"{checkpoint.id}: {checkpoint.folder / name} was {what}")
    if checkpoint.id.rpartition("@")[2] != content_id(found):
        raise Tampered(f"{checkpoint.id}: {checkpoint.folder / CARD} is of other weights")


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of each file that a checkpoint's id covers. Raises RegistryError without weights."""
    weights = weight_files(folder)
    if not weights:
        raise RegistryError(f"{folder} holds no .safetensors file")
    configs = [folder / name for name in CONFIGS if (folder / name).is_file()]
    hashes: dict[str, str] = {}
    for file in [*weights, *configs]:
        with file.open("rb") as stream:
            hashes[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return dict(sorted(hashes.items()))


def content_id(files: Mapping[str, str]) -> str:
    """The digits of the id: SHA-256 over names and hashes of the files, cut."""
    lines = "".join(f"{name}\0{digest}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:DIGITS]


async def register(
    conn: Connection, checkpoint: Checkpoint, card: Mapping[str, Any] | None = None
) -> None:
    """Tell the database of a checkpoint; ``card`` is read from its folder where None.

    Doing it again only notes where the folder is now. Raises NotRegistered where base or parent
    are not known yet.
    """
    if card is None:
        card = json.loads((checkpoint.folder / CARD).read_text())
    try:
        async with conn.transaction():
            await conn.execute(
                "insert into checkpoints (id, kind, folder, base, parent, card)"
                " values (%s, %s, %s, %s, %s, %s)"
                " on conflict (id) do update set folder = excluded.folder"
                " where checkpoints.folder <> excluded.folder",
                (
                    checkpoint.id,
                    checkpoint.kind,
                    str(checkpoint.folder),
                    checkpoint.base,
                    checkpoint.parent,
                    Jsonb(card),
                ),
            )
    except psycopg.errors.ForeignKeyViolation as error:
        raise NotRegistered(
            f"{checkpoint.id} cannot be registered before its base and parent:"
            f" {error.diag.message_detail}"
        ) from error


async def get(conn: Connection, checkpoint_id: str) -> Checkpoint:
    """A registered checkpoint. Raises NotRegistered."""
    cursor = await conn.execute(
        "select id, kind, folder, base, parent from checkpoints where id = %s", (checkpoint_id,)
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotRegistered(f"no checkpoint {checkpoint_id!r} is registered")
    return Checkpoint(row[0], row[1], Path(row[2]), row[3], row[4])


def _flush(folder: Path) -> None:
    """Make the folder's list of names durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
