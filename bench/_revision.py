"""A former commit of this project, checked out to be measured beside this tree."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def checked_out(revision: str) -> Generator[Path]:
    """The tree at that revision, as long as it is wanted."""
    folder = Path(tempfile.mkdtemp(prefix="liveweights-bench-"))
    tree = folder / "tree"
    command = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*command, "add", "--quiet", "--detach", tree, revision], check=True)
    # Servers of benches may run as another user.
    folder.chmod(0o711)
    try:
        yield tree
    finally:
        subprocess.run([*command, "remove", "--force", tree], check=True)
        shutil.rmtree(folder)
