"""Where the running server of a folder is found, and whether it runs."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import secrets
from pathlib import Path
from typing import IO

import msgspec
from psycopg.conninfo import make_conninfo

from liveweights.file_modes import write_durably
from liveweights.store.embedded import DATABASE

ADDRESS = "127.0.0.1"


class Endpoint(msgspec.Struct, frozen=True):
    """``private`` is the folder of the superuser's socket, ``sockets`` that of everybody's."""

    port: int
    private: str
    sockets: str
    reflink: bool
    durable: bool

    def superuser(self, secret: str) -> str:
        """The DSN of the control database."""
        return make_conninfo(
            host=self.private,
            port=self.port,
            dbname=DATABASE,
            user=DATABASE,
            password=superuser_password(secret),
        )


def superuser_password(secret: str) -> str:
    return hmac.new(secret.encode(), b"superuser", hashlib.sha256).hexdigest()


def read_secret(folder: Path) -> str:
    """What all passwords are derived from; only the platform's own user may read the file."""
    return (folder / "secret").read_text()


def make_secret(folder: Path) -> str:
    """The folder's secret, made if there is none."""
    path = folder / "secret"
    if not path.exists():
        write_durably(path, secrets.token_hex(32).encode())
    return read_secret(folder)


def read_endpoint(folder: Path) -> Endpoint | None:
    try:
        return msgspec.json.decode((folder / "endpoint.json").read_bytes(), type=Endpoint)
    except FileNotFoundError:
        return None


def write_endpoint(folder: Path, endpoint: Endpoint | None) -> None:
    """Publish it whole, or withdraw it."""
    path = folder / "endpoint.json"
    if endpoint is None:
        path.unlink(missing_ok=True)
        return
    write_durably(path, msgspec.json.encode(endpoint))


def claim(folder: Path) -> IO[str] | None:
    """Become the folder's host; None if another process is. Kept until the file is closed."""
    file = (folder / "host.lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def has_host(folder: Path) -> bool:
    if not (folder / "host.lock").exists():
        return False
    file = claim(folder)
    if file is None:
        return True
    file.close()
    return False
