"""Running a piece of machine code on several cores at once."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from pathlib import Path
from typing import Any

Run = Callable[[int, int, int], None]
"""``run(function, data, threads)``: call the function at that address with the address of its data
in so many threads, this one included, and wait for all."""


@cache
def runner() -> Run:
    """By the threads that torch computes with, where they are OpenMP's; else by ones of our own.

    OpenMP's wait a moment for the next piece before they sleep, and start one in microseconds; the
    same threads then compute what is torch's.
    """
    library = _openmp()
    if library is None:
        return _run_in_pool
    parallel = library.GOMP_parallel
    parallel.restype = None
    parallel.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)

    def run(function: int, data: int, threads: int) -> None:
        parallel(function, data, threads, 0)

    return run


def _openmp() -> Any:
    """GNU's library, as torch has loaded it; None where it uses another, as on macOS."""
    import torch

    folder = Path(torch.__file__).parent
    places = (folder / "lib", folder.parent / "torch.libs")
    for file in (file for place in places for file in sorted(place.glob("libgomp*.so*"))):
        try:
            library = ctypes.CDLL(str(file))
            if hasattr(library, "GOMP_parallel"):
                return library
        except OSError:
            continue
    return None


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="ternary")


def _run_in_pool(function: int, data: int, threads: int) -> None:
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)
    others = [_pool().submit(call, data) for _ in range(threads - 1)]
    call(data)
    wait(others)
