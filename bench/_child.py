"""A program that a benchmark runs and that begins services of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def run_child(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    capture: bool = False,
    quiet: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run it to its end. Should this process be told to end meanwhile, so is the child, and it is
    waited for: killed, as by `subprocess.run`, it would leave what it began.

    ``env`` is added to this process's own; ``capture`` keeps output and errors, ``quiet`` drops
    the output.
    """
    piped = subprocess.PIPE if capture else None
    child = subprocess.Popen(
        command,
        env={**os.environ, **(env or {})},
        stdout=subprocess.DEVNULL if quiet else piped,
        stderr=piped,
        text=True,
    )
    try:
        output, errors = child.communicate()
    except BaseException:
        child.terminate()
        child.communicate()
        raise
    return subprocess.CompletedProcess(child.args, child.returncode, output, errors)
