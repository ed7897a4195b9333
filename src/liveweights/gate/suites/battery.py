"""The suites of one gate, one after the other."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from liveweights.gate.findings import Measured
from liveweights.gate.sandbox import SandboxUnavailable
from liveweights.gate.settings import GateSettings
from liveweights.gate.suites.catalogue import open_suite
from liveweights.gate.suites.journal import Head, Journal, digest
from liveweights.gate.suites.model import Refused, open_models
from liveweights.gate.suites.run import Plan, run_suite
from liveweights.gate.suites.suite import Case, NothingMeasured, SuiteError

Progress = Callable[[str, int, int], None]
"""Suite, attempts so far and in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Both checkpoints of the service at ``url``. With a ``folder`` every answer is kept there, and
    a run that died goes on. ``held_back`` are the cases of the suite of that name."""

    url: str
    candidate: str
    incumbent: str
    key: str = ""
    folder: Path | None = None
    held_back: Sequence[Case] = ()
    progress: Progress | None = None


async def run_battery(
    asking: Asking, settings: GateSettings, *, beside: int = 0
) -> tuple[Measured, ...]:
    """Ask every suite of ``settings``; so many others are judged ``beside`` them.

    Raises SuiteError where a suite cannot be used or the service refuses, aiohttp.ClientError or
    TimeoutError where the service stays away.
    """
    among = len(settings.suites) + beside
    try:
        return tuple(
            [await _measure(name, asking, plan(name, settings, among)) for name in settings.suites]
        )
    except (SandboxUnavailable, Refused) as error:
        raise SuiteError(str(error)) from error


async def run_episodes(
    asking: Asking, settings: GateSettings
) -> tuple[tuple[Measured, ...], tuple[str, ...]]:
    """Ask the suites of whole episodes that are none of the others, within
    ``settings.episode_seconds``: each has an equal part of what is left. Those that cannot be run
    here are left out, with a sentence why.

    Raises SuiteError, aiohttp.ClientError or TimeoutError as `run_battery`.
    """
    names = list_episodes(settings)
    measured: list[Measured] = []
    left_out: list[str] = []
    end = time.monotonic() + settings.episode_seconds
    for place, name in enumerate(names):
        seconds = max(0.0, end - time.monotonic()) / (len(names) - place)
        how = plan(name, settings, len(names) + len(settings.suites))
        try:
            found = await _measure(name, asking, replace(how, aim="no_harm", seconds=seconds))
        except (SandboxUnavailable, NothingMeasured) as error:
            left_out.append(f"{name} was left out: {error}")
        except Refused as error:
            raise SuiteError(str(error)) from error
        else:
            measured.append(found)
    return tuple(measured), tuple(left_out)


def list_episodes(settings: GateSettings) -> tuple[str, ...]:
    """The suites of whole episodes that are not asked anyway."""
    return tuple(name for name in settings.episodes if name not in settings.suites)


def plan(name: str, settings: GateSettings, among: int) -> Plan:
    """How one suite ``among`` so many is asked, fixed before it is."""
    alpha = (1 - settings.confidence) / 2
    return Plan(
        seed=settings.suite_seed,
        cases=settings.suite_cases,
        margin=settings.margins.get(name),
        aim="better" if name in settings.better else "not_worse",
        concurrency=settings.suite_concurrency,
        stop_at=alpha / (2 * among),
    )


async def _measure(name: str, asking: Asking, how: Plan) -> Measured:
    """One suite. Raises what `run_battery` raises, and SandboxUnavailable and Refused."""
    both = (asking.candidate, asking.incumbent)
    async with (
        open_models(asking.url, both, asking.key) as (ours, theirs),
        open_suite(name, asking.held_back) as suite,
    ):
        head = Head(
            suite=suite.card.name,
            version=suite.card.version,
            content=digest(suite),
            candidate=asking.candidate,
            incumbent=asking.incumbent,
            seed=how.seed,
        )
        folder = asking.folder
        journal = Journal(folder / f"{_file(name)}.jsonl", head) if folder else None

        def tell(done: int, total: int) -> None:
            if asking.progress:
                asking.progress(name, done, total)

        measured = await run_suite(suite, ours, theirs, how, journal=journal, progress=tell)
    return msgspec.structs.replace(measured, suite=name)


def _file(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("_") or "suite"
