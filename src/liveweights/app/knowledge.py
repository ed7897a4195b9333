"""What is known of the models of one instance, while rows add, change and remove them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from liveweights.app.bases import at_bases
from liveweights.app.place import Place
from liveweights.app.profiles import CatalogueRefused, Known, read_known
from liveweights.app.terms import Lookout, find_closed
from liveweights.config import Config
from liveweights.cycle.bases import Standing
from liveweights.model_table import ModelTable
from liveweights.serve.models import Model
from liveweights.store.database import Pool
from liveweights.terms.decision import Match

log = logging.getLogger(__name__)


class Knowledge:
    """Of the models of the settings, of rows by which models run, and of rows that the terms deny.

    ``lookout`` hears of every change when it counts, so that no model answers by the facts of
    another. For use from one event loop.
    """

    def __init__(self, pool: Pool, place: Place, lookout: Lookout) -> None:
        self.local: dict[str, Model] = {}
        """The models of ours that are open here, by public name."""
        self.is_stale = False
        """What is known is of before a change: ``renew`` is owed, or could not be done."""
        self._pool = pool
        self._place = place
        self._lookout = lookout
        self._tables: dict[str, ModelTable] = {}
        """Of the rows by which models run."""
        self._denied: dict[str, tuple[ModelTable, Match]] = {}
        """Of the rows that the terms do not let be loaded, where nothing runs by an earlier one."""
        self._known: dict[str, Known] = {}
        self._bases: Mapping[str, Standing] = {}
        self._reading = asyncio.Lock()

    @property
    def config(self) -> Config:
        """The settings, with the models that rows add as they run here, and without those that the
        terms do not let be loaded."""
        place = self._place
        config = place.config.without_models(place.closed).with_models(self._tables)
        return at_bases(config, self._bases)

    def stand(self, bases: Mapping[str, Standing]) -> None:
        """Aliases stand on these bases; what is known of their models follows with ``renew``."""
        self._bases = bases
        self.is_stale = True

    async def begin(self) -> None:
        """Know the models of the settings. Raises CatalogueRefused, OSError."""
        known = self._place.known
        self._known = await self._read({}) if known is None else dict(known)
        self.tell()

    async def look_up(self, name: str, table: ModelTable) -> Known:
        """What would be known of a model beside the others. Raises CatalogueRefused, OSError."""
        return (await self._read({name: table}))[name]

    async def look_up_on(self, name: str, base: str) -> Known:
        """What would be known of a model on another base. Raises CatalogueRefused, OSError,
        ConfigError."""
        config = self.config.with_base(name, base)
        return (await asyncio.to_thread(read_known, config, self._place.home))[name]

    async def ask_terms(self, known: Known, *, noted: bool) -> Match | None:
        """The rule that does not let the model be loaded, which becomes a row unless it is
        ``noted``; None where it may be."""
        name = known.alias
        async with self._pool.connection() as conn:
            closed = await find_closed(
                conn, self._place.config, {name: known}, noted=[name] if noted else ()
            )
        return closed.get(name)

    def adopt(self, name: str, table: ModelTable, known: Known) -> None:
        """The model goes by these from the next ``tell`` on."""
        self._denied.pop(name, None)
        self._tables[name] = table
        self._known[name] = known

    def deny(self, name: str, table: ModelTable, known: Known, by: Match) -> None:
        """A model that is not there is asked for in vain from now on, with the reason."""
        self._denied[name] = table, by
        self._known[name] = known
        self.tell()

    def forgive(self, name: str) -> None:
        """Take back what ``deny`` said, if it did."""
        if self._denied.pop(name, None) is not None:
            self._known.pop(name, None)
            self.tell()

    def forget(self, name: str) -> None:
        """The model is not there from the next ``tell`` on."""
        self._tables.pop(name, None)
        self._known.pop(name, None)

    async def renew(self) -> None:
        """What is known of one model depends on the others: on whom it teaches, and on which of
        them stand in for it. Where the catalogue cannot be read, it is still owed."""
        try:
            async with self._reading:
                while True:
                    before = self._rows(), self._bases
                    known = await self._read({})
                    if before == (self._rows(), self._bases):
                        break
        except (CatalogueRefused, OSError) as error:
            log.error("what is said of the models stays as it was, for now: %s", error)
            self.is_stale = True
            return
        self.is_stale = False
        self._known = known
        self.tell()

    def tell(self) -> None:
        denied = {name: by for name, (_, by) in self._denied.items()}
        self._lookout.follow(self._known, self.local, {**self._place.closed, **denied})

    async def _read(self, more: Mapping[str, ModelTable]) -> dict[str, Known]:
        config = self._place.config.with_models({**self._rows(), **more})
        config = at_bases(config, self._bases)
        return await asyncio.to_thread(read_known, config, self._place.home)

    def _rows(self) -> dict[str, ModelTable]:
        return self._tables | {name: table for name, (table, _) in self._denied.items()}
