"""What an update makes of the packaged model from some rows, where nobody typed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _models import PACKAGED, find_model
from liveweights.app.wiring import make_engine
from liveweights.config import Config
from liveweights.learn.settings import LearnSettings
from liveweights.record.example import Example
from liveweights.replay.circle import Circle
from liveweights.replay.comparison import Comparison
from liveweights.replay.corpus import Corpus
from liveweights.replay.measure import Measurement, choose, compare_measurements
from liveweights.replay.settings import MeasureSettings, Rewards, TrafficSettings
from liveweights.weights.models import load_tokenizer

HELD_BACK = 4
"""Every so many rows is for the update to be judged by, as the service holds some back."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """``checkpoint`` is what the update made, named by its content; ``taught`` rows had a weight.
    ``beside`` is that checkpoint beside the base at the same places."""

    checkpoint: str
    taught: int
    beside: Comparison

    def as_dict(self) -> dict[str, Any]:
        return {"checkpoint": self.checkpoint, "taught": self.taught, **self.beside.as_dict()}


async def learn_from(
    sides: Mapping[str, Sequence[Example]], folder: Path, files: int
) -> dict[str, Lesson]:
    """For each side one update of the base, as the service does it, from its examples in their
    order; measured at six places each of ``files`` of packages that nobody typed from."""
    unseen = Corpus.find().split(0).held_out_packages
    places = choose(unseen, files, MeasureSettings(), TrafficSettings())
    lessons: dict[str, Lesson] = {}
    before: Measurement | None = None
    for name, examples in sides.items():
        async with _circle(folder / name) as circle:
            if before is None:
                before = await circle.measure(circle.base, places)
            train = [one for number, one in enumerate(examples) if number % HELD_BACK]
            result = await circle.turn(train, examples[::HELD_BACK])
            after = await circle.measure(circle.live, places)
        beside = compare_measurements(before, after, Rewards())
        lessons[name] = Lesson(circle.live.id, result.report.taught, beside)
    return lessons


@asynccontextmanager
async def _circle(folder: Path) -> AsyncGenerator[Circle]:
    await asyncio.to_thread(folder.mkdir, parents=True)
    config = Config()
    base = find_model(PACKAGED, config.cache_folder())
    engine = make_engine(base, config.find_model(), config.cache_folder())
    circle = Circle(engine, load_tokenizer(base), base, folder, settings=LearnSettings())
    try:
        await circle.start()
        yield circle
    finally:
        await engine.close()
