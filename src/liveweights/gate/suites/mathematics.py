"""Procedural tasks of reasoning-gym, checked by math-verify."""

# The extra that this needs may not be installed where types are checked.
# pyright: reportMissingImports=false
from __future__ import annotations

import asyncio
import importlib.util
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from liveweights.gate.suites.questions import Questions
from liveweights.gate.suites.suite import Card, Case, SuiteError
from liveweights.machine import end_with_parent

CARD = Card(
    name="mathematics",
    version="1",
    title="Sums, products, equations and sequences, made by reasoning-gym from a fixed seed",
    licence="Apache-2.0",
    source="PyPI reasoning-gym, math-verify",
    seconds=120,
    margin=0.05,
    max_tokens=96,
)
SEED = 20_260_101
# From what a model of 135 million parameters sometimes solves to what it hardly ever does.
KINDS: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("chain_sum", 60, {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}),
    ("chain_sum", 40, {"min_terms": 2, "max_terms": 2, "min_digits": 2, "max_digits": 2}),
    ("products", 40, {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}),
    ("simple_equations", 30, {"min_terms": 2, "max_terms": 2, "max_value": 9}),
    ("number_sequence", 30, {"min_terms": 4, "max_terms": 4, "max_complexity": 1}),
)
ASK = "{}\nGive only the result."


def missing() -> str | None:
    packages = {"reasoning_gym": "reasoning-gym", "math_verify": "math-verify"}
    lacking = [shown for name, shown in packages.items() if importlib.util.find_spec(name) is None]
    return f"`pip install 'liveweights[suites]'` ({', '.join(lacking)})" if lacking else None


def read_cases() -> list[Case]:
    """Raises SuiteError where the packages are not installed."""
    if lack := missing():
        raise SuiteError(f"the suite mathematics needs {lack}")
    import reasoning_gym

    cases: list[Case] = []
    for number, (kind, size, settings) in enumerate(KINDS):
        dataset = reasoning_gym.create_dataset(kind, size=size, seed=SEED + number, **settings)
        cases += [
            Case(
                id=f"{kind}/{number}.{index}",
                messages=[{"role": "user", "content": ASK.format(entry["question"])}],
                target=str(entry["answer"]),
            )
            for index, entry in enumerate(dataset)
        ]
    return cases


def verify(answer: str, target: str) -> bool:
    """Whether an answer says the target, as mathematics. Only in a process's main thread:
    math-verify bounds its own time by a signal."""
    from math_verify import parse
    from math_verify import verify as equal

    gold = parse(f"${target}$")
    return bool(equal(gold, parse(answer)))


class Verifier:
    """A process that compares, because what a model writes can keep an algebra system busy."""

    def __init__(self) -> None:
        self._pool = self._open()

    @staticmethod
    def _open() -> ProcessPoolExecutor:
        # It holds both ends of its queue, so it would wait on for who was killed.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, context, initializer=end_with_parent)

    async def score(self, answer: str, case: Case) -> tuple[float, str]:
        loop = asyncio.get_running_loop()
        try:
            right = await loop.run_in_executor(self._pool, verify, answer[:2000], case.target)
        except BrokenProcessPool:
            self._pool = self._open()
            return 0.0, "could not be compared"
        return float(right), ""

    async def close(self) -> None:
        await asyncio.to_thread(self._pool.shutdown)


def open_mathematics() -> Questions:
    verifier = Verifier()
    return Questions(CARD, read_cases(), verifier.score, verifier.close)
