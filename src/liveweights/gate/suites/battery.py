"""All suites of one gate, one after the other, and what they say together."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from liveweights.gate.findings import Finding, Measured, judge
from liveweights.gate.sandbox import SandboxUnavailable
from liveweights.gate.settings import GateSettings
from liveweights.gate.suites.catalogue import open_suite
from liveweights.gate.suites.journal import Head, Journal, digest
from liveweights.gate.suites.model import Refused, open_models
from liveweights.gate.suites.run import Plan, run_suite
from liveweights.gate.suites.suite import SuiteError
from liveweights.record.example import Example

Progress = Callable[[str, int, int], None]
"""Suite, attempts so far and in all."""


async def run_battery(
    url: str,
    candidate: str,
    incumbent: str,
    settings: GateSettings,
    *,
    folder: Path | None = None,
    examples: Sequence[Example] = (),
    key: str = "",
    progress: Progress | None = None,
) -> tuple[Finding, ...]:
    """Ask every suite of ``settings`` of both checkpoints of the service at ``url``.

    With a ``folder`` every answer is kept there, and a run that died goes on. ``examples`` are
    held-back rows for the suite of that name. Raises SuiteError where a suite cannot be used or
    the service refuses, aiohttp.ClientError or TimeoutError where the service stays away.
    """
    measured: list[Measured] = []
    try:
        async with open_models(url, (candidate, incumbent), key) as (ours, theirs):
            for name in settings.suites:
                async with open_suite(name, examples) as suite:
                    head = Head(
                        suite=suite.card.name,
                        version=suite.card.version,
                        content=digest(suite),
                        candidate=candidate,
                        incumbent=incumbent,
                        seed=settings.suite_seed,
                    )
                    journal = Journal(folder / f"{_file(name)}.jsonl", head) if folder else None

                    def tell(done: int, total: int, name: str = name) -> None:
                        if progress:
                            progress(name, done, total)

                    measurement = await run_suite(
                        suite, ours, theirs, plan(name, settings), journal=journal, progress=tell
                    )
                    measured.append(msgspec.structs.replace(measurement, suite=name))
    except (SandboxUnavailable, Refused) as error:
        raise SuiteError(str(error)) from error
    return judge(measured, settings.confidence, settings.power)


def plan(name: str, settings: GateSettings) -> Plan:
    """How one of the suites of ``settings`` is asked, fixed before it is."""
    alpha = (1 - settings.confidence) / 2
    return Plan(
        seed=settings.suite_seed,
        cases=settings.suite_cases,
        margin=settings.margins.get(name),
        aim="better" if name in settings.better else "not_worse",
        concurrency=settings.suite_concurrency,
        stop_at=alpha / (2 * len(settings.suites)),
    )


def _file(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("_") or "suite"
