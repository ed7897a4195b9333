"""The thread that computes tokens for the torch engine: continuous batching."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from liveweights.catalog.routers import Choices, stack
from liveweights.engines.biased import biased_logits
from liveweights.engines.distribution import draw, sampling_logprobs
from liveweights.engines.experts import Experts
from liveweights.engines.lookup import Lookup
from liveweights.engines.protocol import EngineError, Sampling, StopReason, Token
from liveweights.engines.torch_batch import Batch, is_plain, prefill
from liveweights.engines.torch_prefixes import Prefix, Prefixes

if TYPE_CHECKING:
    from liveweights.engines.guide import Guide
    from liveweights.engines.text import TextStream

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Answer:
    """One answer in the making. ``emit`` is called in the worker's thread, with each token or
    with the error that ended it."""

    checkpoint_id: str
    model: Any
    choices: Choices
    """Of the model's routers."""
    prompt_ids: Sequence[int]
    sampling: Sampling
    text: TextStream
    ends: frozenset[int]
    emit: Callable[[Token | BaseException], None]
    guide: Guide | None = None
    cancelled: bool = False
    output_ids: list[int] = field(default_factory=list[int])
    cache: Any = None
    """Its own, where the model's cannot be batched."""
    _random: Any = None
    _experts: list[torch.Tensor] = field(default_factory=list[torch.Tensor])
    """Of the pass before each output token (L, K); none of a dense model."""
    _lookup: Lookup | None = None

    def guess(self, most: int) -> list[int]:
        """At most ``most`` tokens that may come next, and not so many that all could come."""
        most = min(most, self.sampling.max_tokens - len(self.output_ids) - 1)
        if most <= 0:
            return []
        if self._lookup is None:
            self._lookup = Lookup((*self.prompt_ids, *self.output_ids))
        return self._lookup.guess(most)

    def take_all(
        self,
        guessed: Sequence[int],
        logits_TV: torch.Tensor,
        experts: Sequence[torch.Tensor | None],
    ) -> bool:
        """Draw tokens for as long as they are those that were guessed, and the one after that;
        whether there are more to come. The logits are those after the last token, and after
        each of ``guessed``."""
        right = 0
        while self.take(logits_TV[right], experts[right]):
            if right == len(guessed) or self.output_ids[-1] != guessed[right]:
                if self._lookup is not None and guessed:
                    self._lookup.learn(right)
                return True
            right += 1
        return False

    def take(self, logits_V: torch.Tensor, experts_LK: torch.Tensor | None) -> bool:
        """Draw the next token from the model's logits; whether there are more to come.

        ``experts_LK`` are those that the logits came of, None of a dense model.
        """
        if experts_LK is not None:
            self._experts.append(experts_LK)
        if self._random is None:
            self._random = np.random.default_rng(self.sampling.seed)
        raw_V = torch.log_softmax(logits_V.double(), dim=-1).cpu().numpy()
        sampling = self.sampling
        allowed_V = self.guide.allowed(len(raw_V)) if self.guide else None
        biased_V = biased_logits(raw_V, sampling.logit_bias, allowed_V)
        logprobs_V = sampling_logprobs(
            biased_V, temperature=sampling.temperature, top_p=sampling.top_p, top_k=sampling.top_k
        )
        chosen = draw(logprobs_V, self._random.random())
        if self.guide:
            self.guide.push(chosen)
        self.output_ids.append(chosen)
        if self._lookup is not None:
            self._lookup.push(chosen)
        visible = self.text.push(chosen)
        stop: StopReason | None = None
        if self.text.stopped:
            stop = "stop"
        elif chosen in self.ends or len(self.output_ids) == sampling.max_tokens:
            visible += self.text.finish()
            stop = "stop" if self.text.stopped or chosen in self.ends else "length"
        top: tuple[tuple[int, float], ...] = ()
        if sampling.top_logprobs:
            best = np.argsort(-raw_V, kind="stable")[: sampling.top_logprobs]
            top = tuple((int(i), float(raw_V[i])) for i in best)
        experts: Experts | None = None
        if stop is not None and self._experts:
            experts = Experts(len(self.prompt_ids) - 1, torch.stack(self._experts).numpy())
        logprob, raw_logprob = float(logprobs_V[chosen]), float(raw_V[chosen])
        self.emit(Token(chosen, visible, logprob, raw_logprob, top, stop, experts))
        return stop is None


class Group:
    """The answers of one checkpoint: those that wait for a row, and those that have one."""

    def __init__(
        self, model: Any, choices: Choices, rows: int, guesses: int, prefixes: Prefixes
    ) -> None:
        self._model = model
        self._choices = choices
        self._rows = rows
        self._guesses = guesses
        self._prefixes = prefixes
        self._batch = Batch(model)
        self._decoding: list[Answer] = []
        """In the order of the batch's rows."""
        self._alone: list[Answer] = []
        """Answers whose model's cache cannot be batched."""
        self.waiting: list[Answer] = []

    @property
    def answers(self) -> list[Answer]:
        return [*self.waiting, *self._decoding, *self._alone]

    def step(self) -> None:
        """Begin at most one answer, so that the others do not stand still for long, and compute
        one token of each that was begun before."""
        self.waiting = [answer for answer in self.waiting if not answer.cancelled]
        self._leave(lambda answer: answer.cancelled)
        begun: Answer | None = None
        if self.waiting and len(self._decoding) + len(self._alone) < self._rows:
            begun = self.waiting.pop(0)
        if self._decoding:
            self._decode()
        self._alone = [a for a in self._alone if not a.cancelled and self._tried(a, self._extend)]
        if begun is not None:
            self._tried(begun, self._begin)

    def _decode(self) -> None:
        answers = self._decoding
        before = [len(answer.output_ids) for answer in answers]
        try:
            # Beside others a pass takes more than reading the weights: guesses cost what they save.
            guesses = [a.guess(self._guesses if len(answers) == 1 else 0) for a in answers]
            ids = [[a.output_ids[-1], *guess] for a, guess in zip(answers, guesses, strict=True)]
            with self._choices.recorded() as choices:
                logits_BTV = self._batch.forward(ids)
            steps = logits_BTV.shape[1]
            experts = _experts(choices, len(answers) * steps)
            done = {
                answer
                for row, answer in enumerate(answers)
                if not self._take(
                    answer, guesses[row], logits_BTV[row], experts[row * steps : (row + 1) * steps]
                )
            }
        except Exception as error:  # the others' checkpoints go on
            log.exception("%d answers failed", len(answers))
            for answer in answers:
                answer.emit(EngineError(f"{answer.checkpoint_id}: {error!r}"))
            self._decoding, self._batch = [], Batch(self._model)
            return
        # The token that was drawn last has not been through the model; the one before has.
        self._batch.advance([len(a.output_ids) - n for a, n in zip(answers, before, strict=True)])
        self._leave(lambda answer: answer in done)

    def _take(
        self,
        answer: Answer,
        guessed: Sequence[int],
        logits_TV: torch.Tensor,
        experts: Sequence[torch.Tensor | None],
    ) -> bool:
        return self._tried(answer, lambda a: a.take_all(guessed, logits_TV, experts))

    def _leave(self, goes: Callable[[Answer], bool]) -> None:
        for row in reversed(range(len(self._decoding))):
            answer = self._decoding[row]
            if goes(answer):
                self._keep(answer, row)
                self._batch.leave(row)
                self._decoding[row] = self._decoding[-1]
                self._decoding.pop()

    def _keep(self, answer: Answer, row: int) -> None:
        """What was computed for an answer, for prompts that begin like it. Its last token has
        not been through the model."""
        ids = (*answer.prompt_ids, *answer.output_ids[:-1])
        self._prefixes.keep(answer.checkpoint_id, Prefix(ids, self._batch.read(row)))

    def _begin(self, answer: Answer) -> bool:
        ids = answer.prompt_ids
        shared, layers = self._prefixes.find(answer.checkpoint_id, ids)
        with self._choices.recorded() as choices:
            logits_V, cache = prefill(self._model, ids, shared, layers)
        more = answer.take(logits_V, _experts(choices, 1)[0])
        if is_plain(cache):
            self._batch.join(cache)
            self._decoding.append(answer)
            if not more:
                self._leave(lambda one: one is answer)
        elif more:
            answer.cache = cache
            self._alone.append(answer)
        return more

    def _extend(self, answer: Answer) -> bool:
        with self._choices.recorded() as choices:
            out = self._model(
                input_ids=torch.tensor([answer.output_ids[-1:]], device=self._model.device),
                past_key_values=answer.cache,
                use_cache=True,
                logits_to_keep=1,
            )
        answer.cache = out.past_key_values
        return answer.take(out.logits[0, -1], _experts(choices, 1)[0])

    def _tried(self, answer: Answer, work: Callable[[Answer], bool]) -> bool:
        """Do it; one answer's failure must not end the others."""
        try:
            return work(answer)
        except EngineError as error:
            answer.emit(error)
            return False
        except Exception as error:
            log.exception("%s: an answer failed", answer.checkpoint_id)
            answer.emit(EngineError(f"{answer.checkpoint_id}: {error!r}"))
            return False


def _experts(choices: list[torch.Tensor], rows: int) -> Sequence[torch.Tensor | None]:
    """What each of the last ``rows`` tokens of a pass went through (L, K); None of a dense
    model."""
    if not choices:
        return [None] * rows
    return stack([choices_NK[-rows:] for choices_NK in choices]).unbind()


class Worker:
    """Steps the checkpoints' groups in turn; new answers join between two steps.

    ``rows`` answers of a checkpoint are decoded together; of one that is alone, ``guesses`` tokens
    at most are guessed in a step. ``cache_bytes`` bounds what finished answers leave behind, of
    all checkpoints together.
    """

    def __init__(self, threads: int, rows: int, guesses: int, cache_bytes: int) -> None:
        self._threads = threads
        self._rows = rows
        self._guesses = guesses
        self._prefixes = Prefixes(cache_bytes)
        self._new: queue.SimpleQueue[Answer | str | None] = queue.SimpleQueue()
        self._groups: dict[str, Group] = {}
        self._open: list[Answer] = []
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="torch-engine", daemon=True)
        self._thread.start()

    def submit(self, answer: Answer) -> None:
        """Let ``answer`` join."""
        if self._closed:
            raise EngineError("the engine is closed")
        self._new.put(answer)

    def forget(self, checkpoint_id: str) -> None:
        """Drop what answers of the checkpoint have left behind."""
        self._new.put(checkpoint_id)

    def active(self, checkpoint_id: str) -> int:
        """How many answers of this checkpoint are computed now."""
        return sum(a.checkpoint_id == checkpoint_id and not a.cancelled for a in self._open)

    def close(self) -> None:
        """End the thread; answers that are not complete get an EngineError."""
        self._closed = True
        self._new.put(None)
        self._thread.join()

    def _run(self) -> None:
        torch.set_num_threads(self._threads)
        with torch.inference_mode():
            while self._admit():
                for checkpoint, group in list(self._groups.items()):
                    group.step()
                    if not group.answers:
                        del self._groups[checkpoint]
                self._open = [a for group in self._groups.values() for a in group.answers]
        for group in self._groups.values():
            for answer in group.answers:
                answer.emit(EngineError("the engine was closed"))

    def _admit(self) -> bool:
        """Take in what was submitted, waiting if there is nothing to do; False at the end."""
        while True:
            try:
                item = self._new.get(block=not self._groups)
            except queue.Empty:
                return True
            if item is None:
                return False
            if isinstance(item, str):
                self._prefixes.drop(item)
                continue
            if item.checkpoint_id not in self._groups:
                group = Group(item.model, item.choices, self._rows, self._guesses, self._prefixes)
                self._groups[item.checkpoint_id] = group
            self._groups[item.checkpoint_id].waiting.append(item)
            self._open = [*self._open, item]
