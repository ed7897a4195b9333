"""Folders for the servers of tests, and what is removed of those that killed test runs left."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from tests.processes import is_alive

from liveweights.agentdb.endpoint import has_host
from liveweights.store.embedded import EmbeddedPostgres, ServerError

PREFIX = "liveweights-tests-"


def make_folder() -> Path:
    """A new one, whose name says whose it is. The user that a server runs as can reach it, to whom
    pytest's ``tmp_path`` is closed when root runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    folder.chmod(0o711)
    return folder


def remove_leftovers() -> None:
    """The folders of processes that have ended, with the servers that are left in them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        pid = folder.name.removeprefix(PREFIX).partition("-")[0]
        if not pid.isdecimal() or is_alive(int(pid)) or has_host(folder / "databases"):
            continue
        with contextlib.suppress(ServerError, OSError):
            for server in (folder / "postgres", folder / "databases" / "postgres"):
                EmbeddedPostgres(server).destroy()
            shutil.rmtree(folder, ignore_errors=True)
