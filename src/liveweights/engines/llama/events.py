"""What llama.cpp's server says of an answer, one line for a token."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterable, Collection
from typing import TYPE_CHECKING, Any

import msgspec

from liveweights.engines.drawn import Step
from liveweights.engines.protocol import EngineError
from liveweights.engines.resumed import Interrupted
from liveweights.engines.text import special_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MARK = re.compile(r"\W?_?[<\[].*[>\]]")
"""How a mark is spelled, such as ``<|file_sep|>``, ``[EOT]`` or ``_<EOT>``."""


class Candidate(msgspec.Struct):
    id: int
    logprob: float


class Scored(msgspec.Struct):
    id: int
    logprob: float
    top_logprobs: list[Candidate] = []

    @property
    def step(self) -> Step:
        best = tuple((candidate.id, candidate.logprob) for candidate in self.top_logprobs)
        return Step(self.id, self.logprob, best)


class Event(msgspec.Struct):
    """One line of the server's stream; the last one has ``stop``."""

    tokens: list[int] = []
    stop: bool = False
    stop_type: str = "none"
    completion_probabilities: list[Scored] = []
    error: dict[str, Any] | None = None


decode_event = msgspec.json.Decoder(Event).decode


def possible_ends(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids of the tokens of which llama.cpp may say that they end an answer.

    It goes by their names, whatever the tokenizer says of them: Qwen's ``<|file_sep|>`` ends an
    answer there, and is no special token.
    """
    added: dict[int, Any] = getattr(tokenizer, "added_tokens_decoder", {})
    named = {id for token, id in tokenizer.get_vocab().items() if _MARK.fullmatch(token)}
    return frozenset(special_ids(tokenizer) | added.keys() | named)


async def read_steps(
    lines: AsyncIterable[bytes], may_end: Collection[int], about: str
) -> AsyncGenerator[tuple[Step, bool]]:
    """The steps of one answer, each with whether it ended it as an end-of-text token.

    Only a later event says that, so that one of a token that ``may_end`` an answer is waited for.
    Raises EngineError, Interrupted.
    """
    held: Step | None = None
    async for line in lines:
        event = _read(line)
        if event is None:
            continue
        if event.error is not None:
            raise EngineError(f"{about}: {event.error}")
        for step in (scored.step for scored in event.completion_probabilities):
            if held is not None:
                yield held, False
            held = step
            if step.id not in may_end:
                held = None
                yield step, False
        if event.stop:
            if held is not None:
                yield held, event.stop_type == "eos"
            return
    raise Interrupted("the answer broke off")


def _read(line: bytes) -> Event | None:
    kind, _, data = line.strip().partition(b":")
    if kind == b"error":
        return Event(error={"message": data.decode(errors="replace")})
    return decode_event(data) if kind == b"data" else None
