"""The thread that computes tokens for the torch engine: one step of each answer in turn."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from liveweights.engines.distribution import sampling_logprobs
from liveweights.engines.protocol import EngineError, Sampling, StopReason, Token

if TYPE_CHECKING:
    from liveweights.engines.text import TextStream

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Answer:
    """One answer in the making. ``emit`` is called in the worker's thread, with each token or
    with the error that ended it."""

    checkpoint_id: str
    model: Any
    prompt_ids: Sequence[int]
    sampling: Sampling
    text: TextStream
    ends: frozenset[int]
    emit: Callable[[Token | BaseException], None]
    cancelled: bool = False
    count: int = 0
    _next: list[int] = field(default_factory=list[int])
    _past: Any = None
    _random: Any = None

    def step(self) -> bool:
        """Compute one token; whether there are more to come."""
        if self._random is None:
            self._random = np.random.default_rng(self.sampling.seed)
            self._next = list(self.prompt_ids)
        raw_V = self._forward()
        sampling = self.sampling
        logprobs_V = sampling_logprobs(
            raw_V, temperature=sampling.temperature, top_p=sampling.top_p, top_k=sampling.top_k
        )
        chosen = draw(logprobs_V, self._random.random())
        self._next = [chosen]
        self.count += 1
        visible = self.text.push(chosen)
        stop: StopReason | None = None
        if self.text.stopped:
            stop = "stop"
        elif chosen in self.ends or self.count == sampling.max_tokens:
            visible += self.text.finish()
            stop = "stop" if self.text.stopped or chosen in self.ends else "length"
        top: tuple[tuple[int, float], ...] = ()
        if sampling.top_logprobs:
            best = np.argsort(-raw_V, kind="stable")[: sampling.top_logprobs]
            top = tuple((int(i), float(raw_V[i])) for i in best)
        self.emit(
            Token(chosen, visible, float(logprobs_V[chosen]), float(raw_V[chosen]), top, stop)
        )
        return stop is None

    def _forward(self) -> Any:
        """Raw log-probabilities of the next token, float64 [V]."""
        ids_1T = torch.tensor([self._next], device=self.model.device)
        out = self.model(
            input_ids=ids_1T, past_key_values=self._past, use_cache=True, logits_to_keep=1
        )
        self._past = out.past_key_values
        return torch.log_softmax(out.logits[0, -1].double(), dim=-1).cpu().numpy()


def draw(logprobs_V: Any, uniform: float) -> int:
    """The token at which the cumulated probability exceeds ``uniform``, in [0, 1)."""
    cumulated = np.cumsum(np.exp(logprobs_V))
    at = int(np.searchsorted(cumulated, uniform * cumulated[-1], side="right"))
    return min(at, len(cumulated) - 1)


class Worker:
    """Steps the active answers round robin; new ones join between two steps."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._new: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        self._active: list[Answer] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="torch-engine", daemon=True)
        self._thread.start()

    def submit(self, answer: Answer) -> None:
        """Let ``answer`` join."""
        if self._closed:
            raise EngineError("the engine is closed")
        self._new.put(answer)

    def active(self, checkpoint_id: str) -> int:
        """How many answers of this checkpoint are computed now."""
        return sum(a.checkpoint_id == checkpoint_id and not a.cancelled for a in self._active)

    def close(self) -> None:
        """End the thread; answers that are not complete get an EngineError."""
        self._closed = True
        self._new.put(None)
        self._thread.join()

    def _run(self) -> None:
        torch.set_num_threads(self._threads)
        with torch.inference_mode():
            while self._admit():
                self._active = [a for a in self._active if not a.cancelled and self._step(a)]
        for answer in self._active:
            answer.emit(EngineError("the engine was closed"))

    def _admit(self) -> bool:
        """Take in what was submitted, waiting if there is nothing to do; False at the end."""
        while True:
            try:
                answer = self._new.get(block=not self._active)
            except queue.Empty:
                return True
            if answer is None:
                return False
            self._active.append(answer)

    def _step(self, answer: Answer) -> bool:
        try:
            return answer.step()
        except Exception as error:  # one answer's failure must not end the others
            log.exception("%s: an answer failed", answer.checkpoint_id)
            answer.emit(EngineError(f"{answer.checkpoint_id}: {error!r}"))
            return False
