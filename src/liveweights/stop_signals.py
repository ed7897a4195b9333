"""What tells a process that keeps servers to end: Ctrl-C, SIGTERM, a terminal that was closed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable


def on_stop(stop: Callable[[], object]) -> None:
    """Let the running loop call ``stop`` at SIGINT, SIGTERM and SIGHUP. Of the main thread.

    Whom nobody asked to outlive its terminal ends with it, and its servers do. ``nohup`` asks:
    where SIGHUP is ignored, it stays so.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    loop = asyncio.get_running_loop()
    for number in numbers:
        loop.add_signal_handler(number, stop)
