"""What one process only may hold, and who holds it: a home, an alias's cycles."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import secrets
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import msgspec

log = logging.getLogger(__name__)

LOCK = "holder.json"
ID = "id"
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


class Held(RuntimeError):
    """Another process holds it; the message names it and says what to do."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """A process that holds something. ``home`` is the id of its service's home folder: names of
    hosts and folders are not the same in two containers, or the same in two that differ."""

    pid: int
    host: str
    since: str
    home: str

    @classmethod
    def me(cls, home: str) -> Holder:
        """This process, from now on."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(pid=os.getpid(), host=socket.gethostname(), since=since, home=home)

    @classmethod
    def decode(cls, text: str | bytes) -> Holder | None:
        """None for what is not one."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError:
            return None

    def encode(self) -> str:
        return msgspec.json.encode(self).decode()

    def is_dead(self) -> bool:
        """Whether it ran on this host and does no more; of other hosts nothing is known."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


def is_held(home: Path) -> bool:
    """Whether a process holds it now; False where the file system has no locks."""
    try:
        with (home / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return False


@contextmanager
def hold_home(home: Path) -> Generator[Holder]:
    """Hold the folder of a service, until the block ends or this process does. Raises Held."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / LOCK).open("a+b") as file:
        try:
            _lock(file)
        except BlockingIOError:
            file.seek(0)
            holder = Holder.decode(file.read()) or "another process"
            raise Held(
                f"{home} is in use by {holder}: stop that one, or say another folder (--home)"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            log.warning("%s: this file system has no locks; start one service on it only", home)
        holder = Holder.me(read_id(home))
        file.seek(0)
        file.truncate()
        file.write(holder.encode().encode())
        file.flush()
        yield holder


def _lock(file: IO[bytes]) -> None:
    """Those who ask whether it is held hold it for an instant."""
    for pause in (0.02, 0.1, 0.5):
        with suppress(BlockingIOError):
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(pause)
    return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def read_id(home: Path) -> str:
    """The id of a home, made at first use: the folder may be moved, or mounted elsewhere."""
    file = home / ID
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        partial = home / f".{ID}.{os.getpid()}.partial"
        partial.write_text(f"{secrets.token_hex(16)}\n")
        try:
            os.link(partial, file)  # the first one's stays
        except FileExistsError:
            pass
        finally:
            partial.unlink()
        return file.read_text().strip()
