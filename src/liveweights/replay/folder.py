"""The folder of a demo: one demo at a time, and a home in it that is a demo's and nobody else's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from liveweights.file_modes import make_home
from liveweights.holder import LOCK, hold_home
from liveweights.store.embedded import EmbeddedPostgres, ServerError

MARKER = "made-by-demo"


class NotForDemo(RuntimeError):
    """No demo may run there now; the message says why, and what to do."""


@contextmanager
def hold_folder(folder: Path) -> Generator[Path]:
    """Hold ``folder`` for one demo, until the block ends or this process does; an empty home in it.

    Only a home that a demo made is emptied. Raises NotForDemo where the home is another's, or where
    the service of an earlier demo or another process with its database may be running; Held where
    a demo or a service runs there.
    """
    home = folder / "home"
    _check(home)
    make_home(folder)
    with hold_home(folder):
        _refuse_earlier(folder)
        _check(home)
        make_home(home)
        (home / MARKER).touch()
        with hold_home(home):
            _end_servers(home)
            _empty(home)
        yield home


def pid_file(folder: Path) -> Path:
    """Where the process of the demo's service is written down while it runs."""
    return folder / "service.pid"


def _check(home: Path) -> None:
    if home.exists() and not (home / MARKER).is_file() and any(home.iterdir()):
        raise NotForDemo(
            f"{home} may be somebody's: a demo empties only what bears its mark ({MARKER}). Say"
            " another --folder, or remove it"
        )


def _refuse_earlier(folder: Path) -> None:
    # One that may not be asked is another user's, and therefore no service of ours.
    with suppress(FileNotFoundError, ValueError, ProcessLookupError, PermissionError):
        pid = int(pid_file(folder).read_text())
        os.kill(pid, 0)
        raise NotForDemo(
            f"the service of an earlier demo may still be running: stop it with `kill {pid}`, "
            f"or remove {pid_file(folder)} if process {pid} is something else"
        )


def _end_servers(home: Path) -> None:
    """Those of a demo that was killed run on, in a folder that is not there any more."""
    for folder in (home / "postgres", home / "databases" / "postgres"):
        try:
            if not folder.is_symlink():
                EmbeddedPostgres(folder).destroy()
        except ServerError as error:
            raise NotForDemo(f"{error}: end that one first, or say another --folder") from error


def _empty(home: Path) -> None:
    """What says whose it is stays: whoever is killed here leaves a home that the next one empties.
    So does the lock that is held."""
    for entry in home.iterdir():
        if entry.name in (MARKER, LOCK):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
