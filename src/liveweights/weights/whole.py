"""Whole weights of checkpoints that are kept as differences."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.delta import is_delta, restore

Find = Callable[[str], Awaitable[Checkpoint]]


async def make_whole(checkpoint: Checkpoint, find: Find, cache: Path) -> Checkpoint:
    """The checkpoint in a folder that an engine or a trainer can read.

    A difference is applied to the weights that it is based on, which may be one themselves, and
    verified; the outcome stays in ``cache``. Raises DeltaError, and what ``find`` raises.
    """
    chain = [checkpoint]
    while chain[-1].base is not None and is_delta(chain[-1].folder):
        chain.append(await find(chain[-1].base))
    folder = chain.pop().folder
    for link in reversed(chain):
        folder = await asyncio.to_thread(restore, folder, link.folder, link.id, cache)
    return replace(checkpoint, folder=folder)
