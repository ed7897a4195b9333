"""Every model attempts every case, in turn; each attempt is kept as it ends."""

from __future__ import annotations

import asyncio
import time
from collections import Counter as Counts
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from liveweights import __version__
from liveweights.gate.suites.journal import digest
from liveweights.gate.suites.model import ApiModel
from liveweights.gate.suites.run import attempt_case, read_cases, seed_for
from liveweights.gate.suites.suite import Case, Suite, SuiteError
from liveweights.meter.money import NANOS
from liveweights.scoreboard.entrants import Counter, Entrant
from liveweights.scoreboard.results import Conditions, Result, ScoreboardError, find_refusal

Done = Mapping[tuple[str, int], Result]
Keep = Callable[[int, Result], Awaitable[None]]
"""Stores an attempt of a run."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One run that is asked: who, as what, how often seeds were changed, what is there already."""

    run: int
    entrant: Entrant
    model: ApiModel
    repeat: int
    done: Done


UNTOLD = 3
"""Attempts of a model that may cost something that may end without it being known of any what."""


@dataclass(slots=True)
class Budget:
    """What may be spent in all, of money (units of the entrants' currency) and time (seconds);
    None is without bound. Attempts that run when it is spent are finished."""

    money: float | None = None
    seconds: float | None = None
    began: float = field(default_factory=time.monotonic)
    _known: int = 0
    _largest: dict[str, int] = field(default_factory=dict[str, int])
    _untold: Counts[str] = field(default_factory=Counts[str])

    @property
    def spent(self) -> int:
        """Billionths. An attempt that does not say what it cost, as it ran out of time or its
        answers count no tokens, is taken to have cost the most that one of the same model did."""
        return self._known + sum(
            count * self._largest.get(model, 0) for model, count in self._untold.items()
        )

    def learn(self, model: str, nanos: int | None) -> None:
        """What an attempt cost that was made before, and is not of this budget. One that was
        refused cost nothing, which says nothing of others."""
        if nanos:
            self._largest[model] = max(nanos, self._largest.get(model, 0))

    def add(self, model: str, nanos: int | None) -> None:
        """What an attempt cost; None where it is not known, of a model that may cost something.
        Raises ScoreboardError where money is bounded and nothing is known of what it costs."""
        self.learn(model, nanos)
        self._known += nanos or 0
        self._untold[model] += nanos is None
        untold = 0 if model in self._largest else self._untold[model]
        if self.money is not None and untold >= UNTOLD:
            raise ScoreboardError(
                f"what {model} costs cannot be bounded: of {untold} attempts it is not known of any"
                " what it cost, as /v1/models says no price, they ran out of time, or their answers"
                f" did not count tokens. Set its price ([prices.{model}]), bound the time instead"
                " (--most-minutes), or allow no more than you can spend with its provider"
            )

    @property
    def exhausted(self) -> str | None:
        """Which bound was reached."""
        if self.money is not None and self.spent >= self.money * NANOS:
            return f"{self.money:g} of money"
        if self.seconds is not None and time.monotonic() - self.began >= self.seconds:
            return f"{self.seconds / 60:g} minutes"
        return None


def conditions_of(suite: Suite, cases: int, seed: int) -> Conditions:
    """What the scores of ``suite`` depend on, asked so by this program. Raises SuiteError."""
    card = suite.card
    return Conditions(
        suite=card.name,
        version=card.version,
        content=digest(suite),
        harness=card.harness,
        samples=card.samples,
        seconds=card.seconds,
        temperature=card.temperature,
        max_tokens=card.max_tokens,
        seed=seed,
        cases=len(read_cases(suite, cases)),
        runner=f"liveweights {__version__}",
    )


async def ask(
    suite: Suite,
    entries: Sequence[Entry],
    keep: Keep,
    *,
    cases: int = 0,
    seed: int = 0,
    concurrency: int = 2,
    budget: Budget | None = None,
    progress: Progress | None = None,
) -> bool:
    """Attempt what is not done, case by case with every entry; whether all of it is done then.

    Raises SuiteError where a model refused every case, then or before, ScoreboardError where the
    budget cannot bound the money (`Budget.add`), and what `attempt_case` raises.
    """
    chosen = read_cases(suite, cases)
    todo = list(_todo(suite, chosen, entries))
    total = len(chosen) * suite.card.samples * len(entries)
    count = total - len(todo)
    left = iter(todo)
    bound = budget or Budget()

    async def work() -> None:
        nonlocal count
        for case, sample, entry in left:
            if bound.exhausted:
                return
            result = await _attempt(suite, case, sample, entry, seed)
            await keep(entry.run, result)
            results[entry.run].append(result)
            if entry.entrant.is_priced:
                bound.add(entry.entrant.id, result.nanos)
            count += 1
            if progress:
                progress(count, total)

    results = {entry.run: list(entry.done.values()) for entry in entries}
    for entry in entries:
        for result in entry.done.values():
            bound.learn(entry.entrant.id, result.nanos)
    if progress:
        progress(count, total)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(max(1, concurrency)):
                group.create_task(work())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    for entry in entries:
        found = results[entry.run]
        if len(found) == len(chosen) * suite.card.samples and (refusal := find_refusal(found)):
            raise SuiteError(
                f"the suite {suite.card.name}: {entry.entrant.id} {refusal}, as every case; that is"
                f" no score. `liveweights scoreboard remove {entry.run}` lets it be asked again"
            )
    return count == total


def _todo(
    suite: Suite, cases: Sequence[Case], entries: Sequence[Entry]
) -> Iterator[tuple[Case, int, Entry]]:
    """Who goes first moves on with each case, so that nobody has the warmer machine."""
    for number, case in enumerate(cases):
        for sample in range(suite.card.samples):
            first = (number + sample) % len(entries)
            for entry in (*entries[first:], *entries[:first]):
                if (case.id, sample) not in entry.done:
                    yield case, sample, entry


async def _attempt(suite: Suite, case: Case, sample: int, entry: Entry, seed: int) -> Result:
    counter = Counter()
    model = replace(entry.model, told=counter.add)
    shown = f"{case.id}\0{entry.repeat}" if entry.repeat else case.id
    attempt = await attempt_case(suite, case, model, seed_for(seed, shown, sample))
    return Result(
        case=case.id,
        sample=sample,
        group=case.group,
        score=attempt.score,
        seconds=attempt.seconds,
        prompt_tokens=counter.prompt,
        completion_tokens=counter.completion,
        nanos=counter.cost(entry.entrant),
        detail=attempt.detail[:300],
    )
