"""The hosted models of a service, which may come and go."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager

from liveweights.serve.hosted.model import Hosted

LOOK = 0.1
"""Seconds between looks whether a model that is gone is still held."""


class HostedModels:
    """By public name; for use from one event loop."""

    def __init__(self, *models: Hosted) -> None:
        self._models = {model.alias: model for model in models}
        self._uses = Counter[int]()
        """Requests that hold a model, by its identity: another may come in its place."""

    def __iter__(self) -> Iterator[Hosted]:
        return iter(self._models.values())

    def __len__(self) -> int:
        return len(self._models)

    def get(self, name: str) -> Hosted | None:
        return self._models.get(name)

    def put(self, model: Hosted) -> None:
        """From now on it answers under its name, and no other."""
        self._models[model.alias] = model

    def remove(self, name: str) -> None:
        """From now on it is unknown; requests that hold it go on."""
        self._models.pop(name, None)

    @contextmanager
    def hold(self, names: Sequence[str]) -> Generator[Mapping[str, Hosted]]:
        """Those of the names that are hosted, as they are now, for as long as the context lasts."""
        held = {name: self._models[name] for name in names if name in self._models}
        self._uses.update(map(id, held.values()))
        try:
            yield held
        finally:
            self._uses.subtract(map(id, held.values()))

    async def drained(self, model: Hosted) -> None:
        """Returns once no request holds ``model``, which was removed or replaced before."""
        while self._uses[id(model)] > 0:
            await asyncio.sleep(LOOK)
        del self._uses[id(model)]
