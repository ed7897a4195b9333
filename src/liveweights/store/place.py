"""Where an embedded server keeps its files."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from liveweights.file_modes import write_durably
from liveweights.machine import CLONING_COPY
from liveweights.store.account import Account

log = logging.getLogger(__name__)

POINTER = "location"
ORIGIN = "origin"
"""In a root that lies elsewhere: the folder that it was made for."""
OPEN = "lw-open"
LONGEST_SOCKET_FOLDER = 90
"""Bytes: the kernel takes 107 for the whole path, ``/.s.PGSQL.5432.lock`` included."""


class PlaceError(RuntimeError):
    """The server's files cannot be kept there; the message says what would work."""


@dataclass(frozen=True, slots=True)
class Place:
    """``root`` belongs to ``account`` and is closed to everybody else."""

    root: Path
    account: Account

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def socket_folder(self) -> Path:
        """``root`` itself, or a private folder with a shorter path."""
        fits = len(os.fsencode(self.root)) <= LONGEST_SOCKET_FOLDER
        return self.root if fits else short_folder(self.root)

    def make_socket_folder(self) -> Path:
        """Raises PlaceError."""
        if self.socket_folder != self.root:
            self._claim(self.socket_folder)
        return self.socket_folder

    @property
    def open_folder(self) -> Path:
        """The folder that everybody may enter, for a socket."""
        return short_folder(self.root, OPEN)

    def make_open_folder(self) -> Path:
        """Raises PlaceError."""
        self._claim(self.open_folder).chmod(0o755)
        return self.open_folder

    def clones_files(self) -> bool:
        """Whether files here are cloned, sharing their blocks (tried, not guessed)."""
        script = (
            'umask 077; cd "$1" && echo 1 > clone.from && cp "$2" clone.from clone.to; '
            "status=$?; rm -f clone.from clone.to; exit $status"
        )
        return self.account.run(["/bin/sh", "-c", script, "sh", self.root, CLONING_COPY])[0] == 0

    def _claim(self, folder: Path) -> Path:
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            status = folder.lstat()
            ours = stat.S_ISDIR(status.st_mode) and status.st_uid in {self.account.uid, 0}
            if not ours:
                raise PlaceError(
                    f"{folder}, needed for the server's socket, belongs to somebody else; remove "
                    f"it, or use another folder than {self.root}"
                ) from None
        self.account.take(folder)
        return folder


def short_folder(root: Path, kind: str = "lw") -> Path:
    """Where a socket of ``root`` is that cannot be in ``root`` itself."""
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    return Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir(), f"{kind}-{digest}")


def outside(root: Path) -> list[Path]:
    """The folders of ``root`` that do not lie in it, whether they exist or not."""
    return [short_folder(root), short_folder(root, OPEN)]


def root_of(folder: Path) -> Path:
    """The root of the place of ``folder``, as it was settled or will be."""
    pointer = folder / POINTER
    return Path(pointer.read_text().strip()) if pointer.exists() else folder / "server"


def settle(folder: Path, shared: Path, service_user: str, *, runs: bool = False) -> Place:
    """Find or make the place of the server of ``folder``; ``runs`` is whether it serves there.

    It is ``folder/server`` wherever that is possible. As root, the server runs as
    ``service_user`` (as the owner, if there is data already); when that user may not enter
    ``folder``'s parents, the place is a new folder in ``shared``, and ``folder/location`` says
    which. The modes of the parents are never touched. One that runs has reached its data, by
    whichever way, and root comes to it as it is.
    Raises PlaceError, AccountError.
    """
    root = root_of(folder)
    elsewhere = root.parent != folder
    if elsewhere and not root.is_dir():
        raise PlaceError(
            f"{folder / POINTER} says that the data is in {root}, which is gone; restore that "
            f"folder, or remove {folder} to begin with an empty database"
        )
    if os.geteuid() != 0:
        return _take(root, Account.own())
    if runs:
        return Place(root, Account.owner_of(root / "data"))
    # Root keeps `folder`, with its locks and the pointer, so that nobody else can lead it astray.
    folder.chmod(0o711)
    data = root / "data"
    account = Account.owner_of(data) if data.exists() else Account.named(service_user)
    if account.can_enter(root.parent):
        return _take(root, account)
    if data.exists() or elsewhere:
        raise PlaceError(
            f"the server's user (id {account.uid}) cannot reach the data in {root}; move it to "
            "where that user may go, e.g. below /var/lib"
        )
    for earlier in find_earlier(folder, shared):
        log.warning(
            "what an earlier database of %s held is still in %s: remove that, too, if it is to go",
            *(folder, earlier),
        )
    root = shared / secrets.token_hex(8)
    root.mkdir(mode=0o700)
    (root / ORIGIN).write_text(f"{folder}\n")
    write_durably(folder / POINTER, f"{root}\n".encode())
    return _take(root, account)


def find_earlier(folder: Path, shared: Path) -> list[Path]:
    """The roots in ``shared`` that were made for ``folder``, such as of one that was removed. Never
    removed by themselves: the folder may be on a disk that is not mounted now."""
    found: list[Path] = []
    for origin in sorted(shared.glob(f"*/{ORIGIN}")):
        with suppress(OSError):
            if origin.read_text() == f"{folder}\n":
                found.append(origin.parent)
    return found


def _take(root: Path, account: Account) -> Place:
    try:
        root.mkdir(mode=0o700, exist_ok=True)
        account.take(root)
    except PermissionError as error:
        owned = root if root.exists() else root.parent
        raise PlaceError(
            f"{owned} belongs to user id {owned.stat().st_uid}; run as that user or as root, or "
            "use another folder"
        ) from error
    return Place(root, account)
