"""Tasks of Inspect (inspect.aisi.org.uk) as suites: its solvers and scorers, our models."""

# The extra that this needs may not be installed where types are checked.
# pyright: reportMissingImports=false, reportUntypedClassDecorator=false, reportUntypedBaseClass=false
from __future__ import annotations

import asyncio
import importlib.util
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from liveweights.gate.suites.clock import off_the_clock
from liveweights.gate.suites.suite import Attempt, Card, Case, Model, SuiteError

GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}


def missing() -> str | None:
    if importlib.util.find_spec("inspect_ai") is None:
        return "`pip install 'liveweights[inspect]'`"
    return None


@dataclass(frozen=True, slots=True)
class InspectSuite:
    """One Inspect task. Inspect runs one evaluation at a time in a process, so attempts queue."""

    task: Any
    card: Card
    samples: dict[str, Any]
    source: bytes = b""
    """Of the file that the task is in; empty for a package's, whose version is the card's."""
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def cases(self) -> Sequence[Case]:
        return [
            Case(id=id, prompt=str(sample.input), target=str(sample.target))
            for id, sample in self.samples.items()
        ]

    def content(self) -> bytes:
        return self.source

    async def attempt(self, case: Case, model: Model, seed: int) -> Attempt:
        from inspect_ai import eval_async

        with off_the_clock():
            await self._turn.acquire()
        failures: list[Exception] = []
        try:
            with tempfile.TemporaryDirectory(prefix="liveweights-inspect-") as folder:
                (log,) = await eval_async(
                    self.task,
                    model=_bridge(model, self.card, seed, failures),
                    sample_id=self.samples[case.id].id,
                    epochs=1,
                    log_dir=folder,
                    log_samples=True,
                    score=True,
                    fail_on_error=True,
                )
                if log.status != "success" and failures:
                    raise failures[0]
                return self._read(case, log)  # samples are read from the folder when asked for
        finally:
            self._turn.release()

    def _read(self, case: Case, log: Any) -> Attempt:
        if log.status != "success" or not log.samples:
            raise SuiteError(f"{self.card.name}: {case.id}: {log.error or log.status}")
        sample = log.samples[0]
        if not sample.scores:
            raise SuiteError(f"{self.card.name} has no scorer")
        value = next(iter(sample.scores.values())).value
        return Attempt(score=_grade(self.card.name, value), answer=sample.output.completion)

    async def close(self) -> None:
        pass


def open_inspect(where: str) -> InspectSuite:
    """``FILE@TASK``, ``FILE`` with one task, or ``PACKAGE/TASK``. Raises SuiteError."""
    if lack := missing():
        raise SuiteError(f"Inspect tasks need {lack}")
    # What `inspect eval` itself does; its own search takes no absolute paths.
    from inspect_ai._eval.loader import create_file_tasks, load_file_tasks, load_tasks

    logging.getLogger("inspect_ai").setLevel(logging.WARNING)
    path, _, name = where.partition("@")
    source = b""
    if not path.endswith(".py"):
        tasks = load_tasks([where])
    elif (file := Path(path).resolve()).is_file():
        source = file.read_bytes()
        load_file_tasks(file)
        tasks = create_file_tasks(file, [name] if name else None)
    else:
        raise SuiteError(f"there is no file {file}")
    if len(tasks) != 1:
        named = ", ".join(task.name for task in tasks) or "none"
        raise SuiteError(f"{where} names {len(tasks)} tasks ({named}); name one: FILE@TASK")
    task = tasks[0]
    samples = {
        str(number if sample.id is None else sample.id): sample
        for number, sample in enumerate(task.dataset, 1)
    }
    for number, sample in enumerate(task.dataset, 1):
        sample.id = number if sample.id is None else sample.id
    card = Card(
        name=f"inspect:{task.name}",
        version=str(task.version),
        title=f"The Inspect task {task.name}",
        licence="the task's",
        source=where,
        harness="inspect",
        seconds=300,
        margin=0.05,
    )
    return InspectSuite(task, card, samples, source)


def _bridge(model: Model, card: Card, seed: int, failures: list[Exception]) -> Any:
    """Our model as one of Inspect's, which tells of an error as a text only: what ours raises is
    kept in ``failures``."""
    from inspect_ai.model import GenerateConfig, ModelAPI, ModelOutput, modelapi
    from inspect_ai.model import Model as InspectModel

    @modelapi(name="liveweights")
    class Bridge(ModelAPI):
        async def generate(
            self, input: Any, tools: Any, tool_choice: Any, config: GenerateConfig
        ) -> ModelOutput:
            if tools:
                raise SuiteError(f"{card.name} offers tools, which are not put to the model")
            how: dict[str, Any] = {
                "max_tokens": config.max_tokens or card.max_tokens,
                "temperature": (
                    card.temperature if config.temperature is None else config.temperature
                ),
                "seed": seed if config.seed is None else config.seed,
                "stop": config.stop_seqs or (),
            }
            messages = [{"role": message.role, "content": message.text} for message in input]
            try:
                answer = await model.chat(messages, **how)
            except Exception as error:
                failures.append(error)
                raise
            return ModelOutput.from_content(model.name, answer)

    return InspectModel(Bridge(model.name), GenerateConfig())


def _grade(suite: str, value: Any) -> float:
    if isinstance(value, str) and value in GRADES:
        return GRADES[value]
    if isinstance(value, bool | int | float) and 0 <= value <= 1:
        return float(value)
    raise SuiteError(f"{suite}: a score of {value!r} is neither a grade nor in [0, 1]")
