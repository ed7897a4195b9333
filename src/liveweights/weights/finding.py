"""A base model made ready in a process of its own, which can be ended in the middle of a download,
a conversion or the reading of its weights, as a thread could not."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from liveweights.child import describe, run_child
from liveweights.machine import end_with_parent
from liveweights.terminal import start_logging
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import BrokenModel, ModelAway, find


@dataclass(frozen=True, slots=True)
class _Failure:
    """An exception as it was, whatever its constructor takes."""

    kind: type[Exception]
    arguments: tuple[Any, ...]
    state: dict[str, Any]

    @classmethod
    def of(cls, error: Exception) -> _Failure:
        error.add_note("".join(traceback.format_exception(error)))
        kind, arguments, *state = cast(tuple[Any, ...], error.__reduce__())
        return cls(kind, arguments, state[0] if state else {})

    def error(self) -> Exception:
        made = self.kind.__new__(self.kind, *self.arguments)
        made.__dict__.update(self.state)
        return made


async def find_apart(model: str, cache: Path) -> Checkpoint:
    """As ``models.find``; a wait that is cancelled ends it at once.

    Raises what that does, ModelAway where the process was killed, and BrokenModel where it did not
    come to an end.
    """
    command = [sys.executable, "-m", "liveweights.weights.finding", model, str(cache)]
    ended = await run_child(command, shown=True)
    if ended.code != 0:
        refusal = ModelAway if ended.was_killed else BrokenModel
        raise refusal(model, f"the process that made it ready ended with {describe(ended.code)}")
    # Of our own process, which unpickles nothing itself.
    found: Checkpoint | _Failure = pickle.loads(ended.output)
    if isinstance(found, _Failure):
        raise found.error()
    return found


def main(arguments: list[str]) -> int:
    """``python -m liveweights.weights.finding MODEL CACHE`` writes what was found, pickled."""
    # A terminal's signals are for whoever waits, who ends this process.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
    start_logging()
    answer = os.dup(1)
    os.dup2(2, 1)  # libraries print what they like
    model, cache = arguments
    found: Checkpoint | _Failure
    try:
        found = find(model, Path(cache))
    except Exception as error:
        found = _Failure.of(error)
    with os.fdopen(answer, "wb") as file:
        pickle.dump(found, file)
    return 0


if __name__ == "__main__":
    # Not as __main__, whose classes another process does not find again.
    from liveweights.weights import finding

    sys.exit(finding.main(sys.argv[1:]))
