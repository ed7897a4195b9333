"""Running a piece of machine code on several cores at once."""

from __future__ import annotations

import ctypes
import logging
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

log = logging.getLogger(__name__)

_START = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)


class Runner(NamedTuple):
    """The address of ``run(function, data, threads, 0)`` for machine code to call: it calls the
    function at that address with the address of its data in so many threads, the caller's included,
    and waits for all."""

    address: int
    held: Any
    """What is there for as long as this is."""


@cache
def runner() -> Runner:
    """By the threads that torch computes with, where they are OpenMP's; else by ones of our own.

    OpenMP's wait a moment for the next piece before they sleep, and start one in microseconds; the
    same threads then compute what is torch's.
    """
    library = _openmp()
    start: Any = _START(_run_in_pool) if library is None else library.GOMP_parallel
    address = ctypes.cast(start, ctypes.c_void_p).value
    assert address
    return Runner(address, start)


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


def _run_in_pool(function: int, data: int, threads: int, _: int) -> None:
    """Threads take shares until there are none: whoever is missing, all is done in the end. Nothing
    is raised to machine code, which could not tell."""
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)
    others: list[Future[None]] = []
    try:
        others += (_pool().submit(call, data) for _ in range(threads - 1))
    except RuntimeError as error:  # no thread is to be had, or the process ends
        log.debug("fewer threads than wanted: %s", error)
    finally:
        call(data)
        while any(not one.done() for one in others):
            with suppress(KeyboardInterrupt):  # the data is there only until this returns
                wait(others)
