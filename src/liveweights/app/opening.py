"""Models of one instance, opened and closed."""

from __future__ import annotations

import asyncio
from functools import partial

import msgspec

from liveweights.app.place import Place
from liveweights.app.seat import CannotReplace, Seat
from liveweights.app.start import find_base
from liveweights.app.wiring import open_hosted, open_model
from liveweights.catalog.card import read_card
from liveweights.engines.context import with_context
from liveweights.model_table import ConfigError, ModelSettings
from liveweights.release.alias import AnotherBase
from liveweights.release.standing import stand
from liveweights.serve.hosted.models import HostedModels
from liveweights.serve.hosted.settings import HostedSettings
from liveweights.serve.memory.memory import Memory
from liveweights.serve.models import Models
from liveweights.serve.router import Router
from liveweights.store.database import Pool
from liveweights.weights.checkpoint import Checkpoint

POLL = 0.1
"""Seconds between looks whether a model is loaded, or nobody uses it any more."""


class Opener:
    """Opens models under the name of the ``instance``; ``models`` and ``hosted`` are those that
    answer, which it does not change."""

    def __init__(
        self, pool: Pool, place: Place, models: Models, hosted: HostedModels, *, instance: str
    ) -> None:
        self._pool = pool
        self._place = place
        self._models = models
        self._hosted = hosted
        self._instance = instance
        self.memory: Memory | None = None
        """What local models share, where it is bounded."""
        if (budget := place.config.memory_bytes()) is not None:
            deployment = place.config.deployment
            self.memory = Memory(
                budget,
                most_waiting=deployment.load_waiting,
                seconds=deployment.load_seconds,
            )

    async def open(self, settings: ModelSettings | HostedSettings, version: int) -> Seat:
        """What a row says; its alias stands on its base then. Raises ConfigError, OSError."""
        if isinstance(settings, HostedSettings):
            return await self.open_upstream(settings, version)
        config = self._place.config
        cache = config.cache_folder()
        base = await find_base(settings, cache, learns=settings.learns)
        facts = await asyncio.to_thread(read_card, base, cache)
        try:
            async with self._pool.connection() as conn:
                await stand(conn, settings.alias, base, facts, model=settings.base)
        except AnotherBase:
            raise ConfigError(
                f"{settings.alias!r} stands on another base than {base.id}, with what was learnt "
                f"there: add {settings.base} under another name"
            ) from None
        return await self.open_fitted(settings, base, version)

    async def open_fitted(
        self,
        settings: ModelSettings,
        base: Checkpoint,
        version: int | None,
        *,
        beside: bool = False,
    ) -> Seat:
        """On a base that may be smaller than the context which is asked for; ``beside`` the one
        that answers."""
        residents = self._place.config.deployment.most(per_tenant=settings.learn.per_tenant)
        engine = await asyncio.to_thread(with_context, base, settings.engine, residents=residents)
        fitted = msgspec.structs.replace(settings, engine=engine)
        seat = await self.open_local(fitted, base, version, beside=beside)
        seat.settings = settings  # as they are asked for, to be compared with the next
        return seat

    async def open_local(
        self,
        settings: ModelSettings,
        base: Checkpoint,
        version: int | None,
        *,
        beside: bool = False,
    ) -> Seat:
        """As the settings are."""
        seat = Seat(settings=settings, version=version, base=base)
        # What takes a model's place is another instance of it for a while.
        suffix = "" if version is None else f".{version}"
        if beside:
            suffix += f"+{base.id.rpartition('@')[2]}"
        try:
            seat.model, seat.deployer = await open_model(
                seat.stack,
                self._pool,
                self._place,
                settings,
                base=base,
                instance=f"{self._instance}/{settings.alias}{suffix}",
                memory=self.memory,
                handed_over=partial(self._is_handed_over, settings.alias),
            )
        except BaseException:
            await seat.stack.aclose()
            raise
        return seat

    async def open_upstream(self, settings: HostedSettings, version: int | None) -> Seat:
        """A model that an upstream runs."""
        seat = Seat(settings=settings, version=version)
        try:
            seat.hosted = await open_hosted(seat.stack, self._pool, self._place.config, settings)
        except BaseException:
            await seat.stack.aclose()
            raise
        return seat

    async def until_ready(self, seat: Seat) -> None:
        """Return when it can answer, or is loaded when it is asked for. Raises CannotReplace."""
        try:
            while (standing := seat.standing(self._instance)).state == "loading":
                await asyncio.sleep(POLL)
            if standing.state == "failed":
                raise CannotReplace(standing.error or "it cannot be loaded")
        except BaseException:
            await seat.stack.aclose()
            raise

    async def drain(self, seat: Seat) -> None:
        """Close it once nobody uses it, and not before: who came before is answered."""
        try:
            if seat.hosted is not None:
                await self._hosted.drained(seat.hosted)
            elif seat.model is not None:
                share = seat.model.share
                while share is not None and share.users:
                    await asyncio.sleep(POLL)
                await seat.model.router.all_drained()
        finally:
            await seat.stack.aclose()

    def _is_handed_over(self, name: str, router: Router) -> bool:
        """Whether another model answers under the name than that of the router."""
        return any(
            route.name == name and model.router.ready(route.live)
            for model in self._models
            if model.router is not router
            for route in model.router.routes()
        )
