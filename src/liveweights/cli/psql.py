"""psql, on the terminal that the command has."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence

from liveweights.store import binaries


def find_psql() -> str | None:
    """The system's psql, else the one that came with the embedded server."""
    if program := shutil.which("psql"):
        return program
    try:
        ours = binaries.find() / "psql"
    except binaries.NoBinaries:
        return None
    return str(ours) if os.access(ours, os.X_OK) else None


def run_psql(command: Sequence[str], env: Mapping[str, str] | None = None) -> int:
    """Its exit code. Ctrl-C is psql's meanwhile, which breaks off a query with it, and this process
    stays. Of the main thread."""
    # Not SIG_IGN, which psql's own children would inherit.
    former = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        return subprocess.run(command, env=env, check=False).returncode
    finally:
        signal.signal(signal.SIGINT, former)
