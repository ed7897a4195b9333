"""A checkpoint at held-out positions, through the public API, without a trace in training."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from liveweights.replay.client import Client, RequestFailed
from liveweights.replay.comparison import CONFIDENCE, Comparison, compare
from liveweights.replay.corpus import SourceFile
from liveweights.replay.developer import Outcome, Position, judge, positions
from liveweights.replay.settings import MeasureSettings, Rewards, TrafficSettings
from liveweights.replay.traffic import Tally

MEASURE_SURFACE = "measure"


@dataclass(frozen=True, slots=True)
class Measurement:
    """Texts and outcomes of one model name; ``None`` where the request failed. ``checkpoint`` is
    what answered (the last one, should an alias have moved meanwhile)."""

    checkpoint: str
    positions: tuple[Position, ...]
    texts: tuple[str | None, ...]
    outcomes: tuple[Outcome | None, ...]

    def __getitem__(self, part: slice) -> Measurement:
        return Measurement(
            self.checkpoint, self.positions[part], self.texts[part], self.outcomes[part]
        )

    def __add__(self, other: Measurement) -> Measurement:
        """The same name at further positions."""
        return Measurement(
            other.checkpoint,
            self.positions + other.positions,
            self.texts + other.texts,
            self.outcomes + other.outcomes,
        )


def choose(
    files: Sequence[SourceFile], count: int, settings: MeasureSettings, traffic: TrafficSettings
) -> list[Position]:
    """A stretch of consecutive positions in each of the first ``count`` files that have enough.

    Positions are drawn as ``traffic`` draws them, so both ask the same kind of question.
    """
    chosen = list[Position]()
    taken = 0
    for file in files:
        if taken == count:
            break
        places = positions(
            file.text,
            file=file.name,
            language=file.language,
            seed=traffic.seed,
            share=traffic.share,
            mid_share=traffic.mid_share,
            window=traffic.window,
        )
        if len(places) < settings.positions:
            continue
        draw = random.Random(f"{traffic.seed}:measure:{file.name}")
        first = draw.randrange(len(places) - settings.positions + 1)
        chosen += places[first : first + settings.positions]
        taken += 1
    return chosen


async def measure(
    client: Client,
    model: str,
    places: Sequence[Position],
    *,
    tally: Tally,
    concurrency: int = 4,
    max_tokens: int = 32,
    report: Callable[[int], None] | None = None,
) -> Measurement:
    """Ask ``model`` (an alias or a resident checkpoint) greedily at every position.

    No consent and a surface of its own: nothing of it is learnt from. Files are asked one
    after the other within a worker, so that the prompt cache serves them. ``tally`` counts
    requests and failures; ``report`` is called with the number of positions done.
    """
    texts: list[str | None] = [None] * len(places)
    outcomes: list[Outcome | None] = [None] * len(places)
    by_file = dict[str, list[int]]()
    for number, place in enumerate(places):
        by_file.setdefault(place.file, []).append(number)
    waiting = iter(by_file.items())
    checkpoint = ""
    done = 0

    async def work() -> None:
        nonlocal checkpoint, done
        for file, numbers in waiting:
            session = "measure-" + hashlib.blake2b(file.encode(), digest_size=6).hexdigest()
            for number in numbers:
                tally.completions += 1
                try:
                    suggestion = await client.complete(
                        places[number].prompt,
                        model=model,
                        temperature=0.0,
                        max_tokens=max_tokens,
                        session=session,
                        user="measure",
                        surface=MEASURE_SURFACE,
                        consent=False,
                    )
                except RequestFailed as error:
                    tally.fail(error)
                    await asyncio.sleep(0.2)
                else:
                    texts[number] = suggestion.text
                    outcomes[number] = judge(suggestion.text, places[number].expected)
                    checkpoint = suggestion.checkpoint
                done += 1
                if report is not None:
                    report(done)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work())
    return Measurement(checkpoint or model, tuple(places), tuple(texts), tuple(outcomes))


def compare_measurements(
    base: Measurement, last: Measurement, rewards: Rewards, *, confidence: float = CONFIDENCE
) -> Comparison:
    """Pair two measurements of the same positions; those that failed in either are left out.

    Raises ValueError where the positions are not the same.
    """
    if base.positions != last.positions:
        raise ValueError("the two measurements are not of the same positions")
    before, after, clusters = list[Outcome](), list[Outcome](), list[str]()
    for place, old, new in zip(base.positions, base.outcomes, last.outcomes, strict=True):
        if old is not None and new is not None:
            before.append(old)
            after.append(new)
            clusters.append(place.file)
    return compare(
        (base.checkpoint, before),
        (last.checkpoint, after),
        clusters,
        rewards,
        confidence=confidence,
    )
