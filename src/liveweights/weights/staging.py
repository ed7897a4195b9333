"""Files and folders in the cache that appear whole or not at all."""

from __future__ import annotations

import glob
import os
import re
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock, Timeout

_STAGED = re.compile(r"\.(?P<target>.+)\.[a-z0-9_]{8}")
"""Names of temporary folders, as ``tempfile`` ends them."""


@contextmanager
def exclusive(target: Path) -> Generator[None]:
    """Hold the lock for making ``target``; a second process waits, then finds it made. What one
    that was killed has left of it is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        for left in target.parent.glob(f".{glob.escape(target.name)}.*"):
            match = _STAGED.fullmatch(left.name)
            if match and match["target"] == target.name:
                shutil.rmtree(left, ignore_errors=True)
        yield


@contextmanager
def staged(target: Path) -> Generator[Path]:
    """A temporary folder beside ``target``, removed at the end. Files made in it are renamed to
    ``target`` by ``publish``."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path, older_than: float) -> list[str]:
    """Remove the temporary folders in ``folder`` that nobody has written to for so many seconds,
    and whose target nobody is making; their names."""
    removed: list[str] = []
    for left in sorted(folder.glob(".*")):
        match = _STAGED.fullmatch(left.name)
        if match is None or not left.is_dir() or _idle_seconds(left) < older_than:
            continue
        lock = folder / f"{match['target']}.lock"
        try:
            with FileLock(lock, timeout=0) if lock.is_file() else nullcontext():
                shutil.rmtree(left, ignore_errors=True)
        except Timeout:
            continue
        removed.append(left.name)
    return removed


def _idle_seconds(folder: Path) -> float:
    """Since something in it was written; 0 where it is just going away."""
    try:
        last = max(one.stat().st_mtime for one in (folder, *folder.rglob("*")))
    except FileNotFoundError:
        return 0.0
    return time.time() - last


def publish(made: Path, target: Path) -> None:
    """Flush ``made`` (a file or a folder of files) to disk and give it its name atomically."""
    for file in [made] if made.is_file() else sorted(f for f in made.rglob("*") if f.is_file()):
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    made.rename(target)


def write_whole(file: Path, content: bytes) -> None:
    """Give ``file`` that content atomically, its folder made where it is missing. Not flushed to
    disk: for what can be made again."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    partial.replace(file)
