"""An answer that goes on from the tokens that it had when a server breaks it off."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from liveweights.engines.drawn import Step, drawn_token
from liveweights.engines.protocol import EngineError, Sampling, Token
from liveweights.engines.text import TextStream

CONTINUATIONS = 5
"""How often in a row an answer is taken up again without a token in between."""

Attempt = Callable[[Sequence[int]], AsyncGenerator[tuple[Step, bool]]]
"""The steps that follow the tokens which an answer has, each with whether it is an end-of-text
token. Raises Interrupted where it may be tried again."""


class Interrupted(Exception):
    """The server went away before the answer was complete."""


async def generate_resumed(
    checkpoint_id: str, attempt: Attempt, sampling: Sampling, text: TextStream, *, candidates: int
) -> AsyncGenerator[Token]:
    """The tokens of an answer, drawn from so many ``candidates``, in as many attempts as it takes.

    Raises EngineError where it gets no further, and what ``attempt`` raises.
    """
    done: list[int] = []
    without_progress = 0
    while True:
        before = len(done)
        try:
            async with aclosing(attempt(done)) as steps:
                async for step, ended in steps:
                    done.append(step.id)
                    token = drawn_token(
                        step, candidates, sampling, text, count=len(done), ended=ended
                    )
                    yield token
                    if token.stop:
                        return
            raise EngineError(f"{checkpoint_id}: the answer ended after {len(done)} tokens")
        except Interrupted as reason:
            without_progress = 0 if len(done) > before else without_progress + 1
            if without_progress > CONTINUATIONS:
                raise EngineError(
                    f"{checkpoint_id} broke off {without_progress} times at the same token: "
                    f"{reason}"
                ) from reason
