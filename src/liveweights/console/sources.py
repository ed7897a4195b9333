"""What pages read beside the database: of the settings, the catalogue and the code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from liveweights.adoption.own import Week
from liveweights.adoption.relative import Tracked
from liveweights.bom.read import Known
from liveweights.exposure.facts import Dimension
from liveweights.exposure.report import Exposure
from liveweights.exposure.without import Without
from liveweights.insight.window import Window
from liveweights.store.database import Connection

ReadExposure: TypeAlias = Callable[[Connection, Window, Sequence[Without]], Awaitable[Exposure]]
ReadWeeks: TypeAlias = Callable[[Connection, Window, Dimension], Awaitable[tuple[Week, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The functions of the commands `exposure`, `adoption` and `bom`. Each raises CatalogueError
    where the home's catalogue is not understood, ``read_exposure`` also ValueError."""

    read_exposure: ReadExposure
    read_weeks: ReadWeeks
    list_tracked: Callable[[], Awaitable[list[Tracked]]]
    know_service: Callable[[Connection], Awaitable[Known]]
