"""Files and folders in the cache that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock


@contextmanager
def exclusive(target: Path) -> Generator[None]:
    """Hold the lock for making ``target``; a second process waits, then finds it made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
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
