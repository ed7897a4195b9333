"""Models that go over to another base, while they answer on the one before."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Mapping

import msgspec

from liveweights.app.bases import plan_change
from liveweights.app.chores import Chores
from liveweights.app.knowledge import Knowledge
from liveweights.app.opening import Opener
from liveweights.app.seat import RETRY, NotAllowed, Seat
from liveweights.app.start import find_base
from liveweights.cycle.bases import Standing as Stands
from liveweights.model_table import ConfigError, ModelSettings
from liveweights.serve.models import Models

log = logging.getLogger(__name__)


class Crossing:
    """``seats`` are the models that answer, by name, which it changes when one has gone over;
    ``changed`` is called then, and when work for one has ended."""

    def __init__(
        self,
        models: Models,
        opener: Opener,
        knowledge: Knowledge,
        seats: dict[str, Seat],
        changed: Callable[[], None],
    ) -> None:
        self._models = models
        self._opener = opener
        self._knowledge = knowledge
        self._seats = seats
        self._changed = changed
        self.beside: dict[str, Seat] = {}
        """Models on the base that their alias goes over to, or comes from."""
        self.chores = Chores(changed)
        self._opening = set[str]()
        """Models of which another base is being opened: that may be broken off."""
        self._again: dict[str, float] = {}
        """When, on the loop's clock, a base is tried again that could not be opened."""
        self._denied = set[tuple[str, str]]()
        """Models and bases that the terms denied when they were last asked: each is a row once."""

    def step(self, stands: Mapping[str, Stands], busy: Container[str]) -> None:
        """Begin what brings models to the bases that their aliases stand on, or are taken to; those
        that are ``busy`` have to wait."""
        now = asyncio.get_running_loop().time()
        for name, standing in stands.items():
            seat, beside = self._seats.get(name), self.beside.get(name)
            waits = name in busy or name in self.chores
            if seat is None or seat.base is None or waits or now < self._again.get(name, 0):
                continue
            change = plan_change(
                standing,
                answers=seat.base.id,
                beside=beside.base.id if beside and beside.base else None,
                is_ready=beside is not None and beside.is_ready,
            )
            if change is None:
                continue
            if change.kind == "open":
                work = self._open(seat, change.base, standing.models.get(change.base))
                self._opening.add(name)
                self.chores.start(name, work)
            elif beside is not None and change.kind == "take over":
                self._seats[name], self.beside[name] = beside, seat
                if beside.model is not None:
                    self._knowledge.local[name] = beside.model
                    self._knowledge.tell()
                log.info("the model %s answers on %s", name, change.base)
                self._changed()
            elif beside is not None:
                self.chores.start(name, self._close(beside))

    async def _open(self, seat: Seat, base: str, model: str | None) -> None:
        """Open the model on another base beside the one that answers."""
        settings = seat.settings
        assert isinstance(settings, ModelSettings)
        name = settings.alias
        try:
            if model is None:
                raise ConfigError(f"no switch says what {base} is called")
            known = await self._knowledge.look_up_on(name, model)
            noted = (name, base) in self._denied
            if (by := await self._knowledge.ask_terms(known, noted=noted)) is not None:
                self._denied.add((name, base))
                raise NotAllowed(name, by)
            self._denied.discard((name, base))
            settings = msgspec.structs.replace(settings, base=model)
            cache = self._knowledge.config.cache_folder()
            found = await find_base(settings, cache, learns=settings.learns)
            if found.id != base:
                raise ConfigError(f"{model} is {found.id} here, not {base}")
            other = await self._opener.open_fitted(settings, found, seat.version, beside=True)
        except Exception as error:
            # Any failure of one model is its own: it is reported and the others go on.
            self._again[name] = asyncio.get_running_loop().time() + RETRY
            log.error("the model %s cannot be opened on %s: %s", name, base, error)
            return
        finally:
            self._opening.discard(name)
        if self._seats.get(name) is not seat:
            # It was removed or changed meanwhile: what takes its place begins anew.
            await other.stack.aclose()
            return
        assert other.model is not None
        self._models.add(other.model)
        self.beside[name] = other

    async def _close(self, beside: Seat) -> None:
        assert beside.model is not None
        assert beside.base is not None
        self._models.remove(beside.model)
        del self.beside[beside.settings.alias]
        await self._opener.drain(beside)
        log.info("the model %s is closed on %s", beside.settings.alias, beside.base.id)

    async def leave(self, name: str) -> None:
        """Close what is beside a model that is no more, or none of ours any more, and break off
        what is being opened there."""
        if name in self._opening:
            await self.chores.end(name)
            self._opening.discard(name)
        self._again.pop(name, None)
        if (beside := self.beside.get(name)) is not None and name not in self.chores:
            await self._close(beside)
