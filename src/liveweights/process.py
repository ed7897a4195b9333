"""What every child process of ours does."""

from __future__ import annotations

import ctypes
import signal
import sys


def end_with_parent() -> None:
    """Ask Linux for SIGKILL when the parent ends; elsewhere a parent must end its children."""
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
