"""Threads for native code that recurses as deep as its input is nested."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

STACK = 256 << 20
"""Bytes of each thread's stack. Only what is touched takes memory."""
_SETTING = threading.Lock()


def start_deep_threads(count: int, name: str) -> ThreadPoolExecutor:
    """``count`` threads with a stack of ``STACK`` bytes, all of them started."""
    threads = ThreadPoolExecutor(count, name)
    started = threading.Event()
    # The size holds for whatever thread the process starts: only while these are.
    with _SETTING:
        before = threading.stack_size(STACK)
        try:
            for _ in range(count):
                threads.submit(started.wait)  # each keeps its thread, so that the next gets its own
        finally:
            threading.stack_size(before)
            started.set()
    return threads
