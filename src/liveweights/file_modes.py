"""Files of a service are its user's: what users wrote is among them."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from liveweights.machine import LINUX

UMASK = 0o077


def close_files() -> None:
    """Whatever this process and its children make from now on is for its own user only."""
    os.umask(UMASK)


def write_durably(file: Path, content: bytes) -> None:
    """Give ``file``, which only its owner reads, that content as a whole: after a power cut the old
    one is there, or the new one."""
    draft = file.with_name(f"{file.name}.new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as sink:
        sink.write(content)
        sink.flush()
        os.fsync(sink.fileno())
    draft.rename(file)
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_back(folder: Path) -> None:
    """Return when all that was written to the folder's disk is on it. Raises OSError."""
    if not LINUX:
        os.sync()
        return
    # Of that file system alone: others may be busy, or away.
    libc = ctypes.CDLL(None, use_errno=True)
    opened = os.open(folder, os.O_RDONLY)
    try:
        if libc.syncfs(opened):
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), str(folder))
    finally:
        os.close(opened)


def make_home(folder: Path) -> None:
    """Make the folder where it is missing, closed to other users.

    As root it can be passed through, not looked into: the database's server runs as another user,
    whose files are in a folder below. The mode of what is there already is left as it is.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in missing:
        path.chmod(0o711 if os.geteuid() == 0 else 0o700)
