"""What ``liveweights scoreboard run`` does: open suites, ask models, keep scores, show bars."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import msgspec

from liveweights.access.audit import Event
from liveweights.access.commands import note
from liveweights.cli.bars import case_bars
from liveweights.cli.comparison import hold, read_held_back
from liveweights.gate.suites.catalogue import open_suite
from liveweights.gate.suites.model import ApiModel, open_models
from liveweights.gate.suites.suite import Case, Suite, SuiteError
from liveweights.model_table import ModelSettings
from liveweights.scoreboard.asking import Budget, Entry, ask, conditions_of
from liveweights.scoreboard.entrants import Entrant, find_entrants
from liveweights.scoreboard.results import Result, Run, ScoreboardError
from liveweights.scoreboard.rows import keep_results, open_run, read_run
from liveweights.store.database import Connection
from liveweights.weights.registry import NotRegistered

Open = Callable[[], AbstractAsyncContextManager[Connection]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked of whom, and what it may cost: ``money`` in the models' currency and
    ``seconds``, None without bound. ``learner`` is the model whose rows make "held-back", None
    where that is not asked."""

    url: str
    key: str
    models: Sequence[str]
    suites: Sequence[str]
    twice: Sequence[str]
    cases: int
    seed: int
    concurrency: int
    money: float | None
    seconds: float | None
    hardware: str
    learner: ModelSettings | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The suites that were asked, by the names that their cards have; the checkpoint that answered
    for each model; which bound stopped it, None where all is asked."""

    suites: tuple[str, ...]
    asked: Mapping[str, str | None]
    spent: str | None


async def score(plan: Plan, open_database: Open) -> Outcome:
    """Ask all that is not asked yet.

    Raises ScoreboardError, SuiteError, SandboxUnavailable, Refused, LookupError, and
    aiohttp.ClientError or TimeoutError where the service stays away.
    """
    if not plan.models or not plan.suites:
        raise ScoreboardError("name at least one model and one suite")
    entrants = await find_entrants(plan.url, plan.models, plan.key)
    budget = Budget(plan.money, plan.seconds)
    asked: list[str] = []
    refused: SuiteError | None = None
    checkpoints = {one.id: one.checkpoint for one in entrants}
    async with (
        open_database() as conn,
        open_models(plan.url, [one.asked for one in entrants], plan.key) as models,
        AsyncExitStack() as stack,
    ):
        await conn.set_autocommit(True)
        for one in {one.held for one in entrants if one.held}:
            # A service with another database is asked all the same, as long as it holds it.
            with suppress(NotRegistered):
                await stack.enter_async_context(hold(conn, one))
        for name in plan.suites:
            held_back: Sequence[Case] = ()
            if name == "held-back" and plan.learner is not None:
                held_back = await read_held_back(
                    conn, plan.learner, [one.asked for one in entrants]
                )
            async with open_suite(name, held_back) as suite, _bar(suite.card.name) as progress:
                asked.append(suite.card.name)
                async with conn.transaction():
                    entries = await _enter(conn, plan, suite, entrants, models)
                    details = {"models": plan.models, "runs": [one.run for one in entries]}
                    await note(conn, Event("score models", suite.card.name, details))

                async def keep(run: int, result: Result) -> None:
                    await keep_results(conn, run, [result])

                try:
                    done = await ask(
                        suite,
                        entries,
                        keep,
                        cases=plan.cases,
                        seed=plan.seed,
                        concurrency=plan.concurrency,
                        budget=budget,
                        progress=progress,
                    )
                except SuiteError as error:
                    refused = refused or error  # the other suites are asked all the same
                    continue
            if not done:
                return Outcome(tuple(asked), checkpoints, budget.exhausted)
    if refused is not None:
        raise refused
    return Outcome(tuple(asked), checkpoints, None)


async def _enter(
    conn: Connection,
    plan: Plan,
    suite: Suite,
    entrants: Sequence[Entrant],
    models: Sequence[ApiModel],
) -> list[Entry]:
    """The runs of a suite, with what is there of each."""
    conditions = conditions_of(suite, plan.cases, plan.seed)
    entries: list[Entry] = []
    for entrant, model in zip(entrants, models, strict=True):
        for repeat in (0, 1) if entrant.id in plan.twice else (0,):
            run = Run(
                model=entrant.id,
                checkpoint=entrant.checkpoint,
                conditions=msgspec.structs.replace(conditions, repeat=repeat),
                hardware="hosted" if entrant.hosted else plan.hardware,
            )
            id_ = await open_run(conn, run, entrant.currency)
            entries.append(Entry(id_, entrant, model, repeat, await read_run(conn, id_)))
    return entries


@asynccontextmanager
async def _bar(name: str) -> AsyncGenerator[Callable[[int, int], None]]:
    bar = case_bars()
    task = bar.add_task(name, total=None)

    def tell(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)

    with bar:
        yield tell
