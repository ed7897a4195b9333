"""The thread that computes tokens for engines in this process: continuous batching."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from liveweights.engines.biased import biased_logits
from liveweights.engines.decoder import Decoder, Outputs
from liveweights.engines.distribution import draw, make_generator, most_likely
from liveweights.engines.experts import Experts
from liveweights.engines.lookup import Lookup
from liveweights.engines.penalties import Penalties, make_penalties
from liveweights.engines.protocol import EngineError, Sampling, StopReason, Token

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from liveweights.engines.guide import Guide
    from liveweights.engines.text import TextStream

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """What the next token is drawn from.

    ``experts_LK`` are those that the logits (float32) came of, None of a dense model.
    """

    logits_V: NDArray[np.float32]
    experts_LK: torch.Tensor | None = None

    def total(self) -> float:
        """What to take off logits for log-probabilities: the logarithm of the sum of their
        exponentials."""
        return float(torch.from_numpy(self.logits_V).logsumexp(-1))


def steps(outputs: Outputs) -> list[Step]:
    """Each token of a pass."""
    logits_NV = outputs.logits_NV.float().cpu().numpy()
    return [Step(*each) for each in zip(logits_NV, outputs.experts, strict=True)]


@dataclass(slots=True, eq=False)
class Answer:
    """One answer in the making. ``emit`` is called in the worker's thread, with each token or
    with the error that ended it."""

    checkpoint_id: str
    decoder: Decoder
    prompt_ids: Sequence[int]
    sampling: Sampling
    text: TextStream
    ends: frozenset[int]
    emit: Callable[[Token | BaseException], None]
    guide: Guide | None = None
    cancelled: bool = False
    ended: bool = False
    """Whether its last token, or what ended it, was emitted."""
    output_ids: list[int] = field(default_factory=list[int])
    _random: Any = None
    _experts: list[torch.Tensor] = field(default_factory=list[torch.Tensor])
    """Of the pass before each output token (L, K); none of a dense model."""
    _lookup: Lookup | None = None
    _penalties: Penalties | None = None

    def __post_init__(self) -> None:
        self._penalties = make_penalties(self.sampling, self.prompt_ids)

    def guess(self, most: int) -> list[int]:
        """At most ``most`` tokens that may come next, and not so many that all could come."""
        most = min(most, self.sampling.max_tokens - len(self.output_ids) - 1)
        if most <= 0:
            return []
        if self._lookup is None:
            self._lookup = Lookup((*self.prompt_ids, *self.output_ids))
        return self._lookup.guess(most)

    def take_all(self, guessed: Sequence[int], steps: Sequence[Step]) -> bool:
        """Draw tokens for as long as they are those that were guessed, and the one after that;
        whether there are more to come. The steps are those after the last token, and after each
        of ``guessed``."""
        right = 0
        while self.take(steps[right]):
            if right == len(guessed) or self.output_ids[-1] != guessed[right]:
                if self._lookup is not None and guessed:
                    self._lookup.learn(right)
                return True
            right += 1
        return False

    def take(self, step: Step) -> bool:
        """Draw the next token; whether there are more to come."""
        if step.experts_LK is not None:
            self._experts.append(step.experts_LK)
        chosen, logprob = self._draw(step.logits_V)
        if self.guide:
            self.guide.push(chosen)
        if self._penalties:
            self._penalties.push(chosen)
        self.output_ids.append(chosen)
        if self._lookup is not None:
            self._lookup.push(chosen)
        visible = self.text.push(chosen)
        stop: StopReason | None = None
        if self.text.stopped:
            stop = "stop"
        elif chosen in self.ends or len(self.output_ids) == self.sampling.max_tokens:
            visible += self.text.finish()
            stop = "stop" if self.text.stopped or chosen in self.ends else "length"
        ids = [chosen, *most_likely(step.logits_V, self.sampling.top_logprobs).tolist()]
        total = step.total()
        raw, *best = [float(step.logits_V[i]) - total for i in ids]
        experts: Experts | None = None
        if stop is not None and self._experts:
            experts = Experts(len(self.prompt_ids) - 1, torch.stack(self._experts).numpy())
        top = tuple(zip(ids[1:], best, strict=True))
        self.ended = stop is not None
        self.emit(Token(chosen, visible, logprob, raw, top, stop, experts))
        return not self.ended

    def fail(self, error: EngineError) -> None:
        """End it with ``error``, unless it has ended."""
        if not self.ended:
            self.ended = True
            self.emit(error)

    def _draw(self, logits_V: NDArray[np.float32]) -> tuple[int, float]:
        """A token, and its log-probability under the distribution that it is drawn from."""
        sampling = self.sampling
        values_V: NDArray[np.floating] = logits_V
        if sampling.logit_bias or self.guide or self._penalties:
            allowed_V = self.guide.allowed(len(logits_V)) if self.guide else None
            values_V = biased_logits(logits_V, sampling.logit_bias, allowed_V, self._penalties)
        if self._random is None:
            self._random = make_generator(sampling.seed)
        return draw(
            values_V,
            self._random.random(),
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            min_p=sampling.min_p,
        )


class Group:
    """The answers of one checkpoint: those that wait for a row, and those that have one.

    ``flush`` is called after each pass: what was emitted in it may go out.
    """

    def __init__(
        self, decoder: Decoder, rows: int, guesses: int, flush: Callable[[], None]
    ) -> None:
        self._decoder = decoder
        self._rows = rows
        self._guesses = guesses
        self._flush = flush
        self._decoding: list[Answer] = []
        """In the order of the decoder's rows."""
        self._begun: list[Answer] = []
        """Those that get a row in this step."""
        self.waiting: list[Answer] = []

    @property
    def answers(self) -> list[Answer]:
        return [*self.waiting, *self._begun, *self._decoding]

    def step(self) -> None:
        """Begin what one pass takes, so that the others do not stand still for long, and compute
        one token of each that was begun before. What the decoder raises ends the answers."""
        try:
            self._step()
        except BaseException as error:  # a panic of a library in Rust is no Exception
            # How far it came with its rows is not known.
            self._fail(self.answers, error)
            self.waiting, self._begun, self._decoding = [], [], []
            self._flush()
            self._decoder.clear()

    def _step(self) -> None:
        self.waiting = [answer for answer in self.waiting if not answer.cancelled]
        self._leave(answer for answer in self._decoding if answer.cancelled)
        self._begin()
        beside = bool(self._decoding) and self._decoder.takes_prompts_beside
        if self._decoding:
            self._pass(self._begun if beside else [], decode=True)
            self._flush()
        if self._begun:
            self._pass(self._begun, decode=False)
            self._flush()

    def _begin(self) -> None:
        tokens = 0
        while self.waiting and len(self._decoding) + len(self._begun) < self._rows:
            tokens += self._decoder.left(self.waiting[0].prompt_ids)
            if self._begun and tokens > self._decoder.prompt_tokens:
                break
            self._begun.append(self.waiting.pop(0))

    def _pass(self, begun: Sequence[Answer], *, decode: bool) -> None:
        """Compute the prompts of ``begun``, and beside them the next tokens of the others."""
        answers = [*self._decoding] if decode else []
        before = [len(answer.output_ids) for answer in answers]
        # Beside others a pass takes more than reading the weights: guesses cost what they save.
        alone = len(answers) == 1 and not begun and self._decoder.takes_guesses
        guesses = [answer.guess(self._guesses if alone else 0) for answer in answers]
        ids = [[a.output_ids[-1], *guess] for a, guess in zip(answers, guesses, strict=True)]
        try:
            outputs = self._decoder.forward(ids, [answer.prompt_ids for answer in begun])
            drawn = iter(steps(outputs))
        except Exception as error:  # the others' checkpoints go on
            self._fail([*answers, *begun], error)
            if begun:
                self._begun = []
            if answers:
                self._decoding = []
                self._decoder.clear()
            return
        self._decoding += begun
        if begun:
            self._begun = []
        unguessed: list[list[int]] = [[] for _ in begun]
        done = [
            answer
            for answer, guess in zip([*answers, *begun], [*guesses, *unguessed], strict=True)
            if not self._take(answer, guess, [next(drawn) for _ in range(len(guess) + 1)])
        ]
        if answers:
            # The token that was drawn last has not been through the model; the one before has.
            self._decoder.advance(
                [len(a.output_ids) - n for a, n in zip(answers, before, strict=True)]
            )
        self._leave(done)

    def _leave(self, answers: Iterable[Answer]) -> None:
        going = set(answers)
        for row in reversed(range(len(self._decoding))):
            if self._decoding[row] in going:
                self._decoder.leave(row)
                self._decoding[row] = self._decoding[-1]
                self._decoding.pop()

    def _take(self, answer: Answer, guessed: Sequence[int], steps: Sequence[Step]) -> bool:
        """Whether there are more to come; one answer's failure must not end the others."""
        try:
            return answer.take_all(guessed, steps)
        except EngineError as error:
            answer.fail(error)
        except BaseException as error:  # a panic of a library in Rust is no Exception
            self._fail([answer], error)
        return False

    def _fail(self, answers: Sequence[Answer], error: BaseException) -> None:
        log.exception("%d answers failed", len(answers))
        for answer in answers:
            answer.fail(EngineError(f"{answer.checkpoint_id}: {error!r}"))


class Worker:
    """Steps the checkpoints' groups in turn; new answers join between two steps.

    ``rows`` answers of a checkpoint are decoded together; of one that is alone, ``guesses`` tokens
    at most are guessed in a step. ``flush`` is called in the worker's thread after every pass.
    """

    def __init__(self, threads: int, rows: int, guesses: int, flush: Callable[[], None]) -> None:
        self._threads = threads
        self._rows = rows
        self._guesses = guesses
        self._flush = flush
        self._new: queue.SimpleQueue[Answer | Callable[[], None] | None] = queue.SimpleQueue()
        self._groups: dict[str, Group] = {}
        self._open: list[Answer] = []
        self._lock = threading.Lock()
        self._refusal = ""
        """Why no answer may join any more."""
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, answer: Answer) -> None:
        """Let ``answer`` join. Raises EngineError where the thread has ended, or is about to."""
        with self._lock:  # what is put behind the end is answered by nobody
            if self._refusal:
                raise EngineError(self._refusal)
            self._new.put(answer)

    def call(self, work: Callable[[], None]) -> bool:
        """Do ``work``, which must not raise, in the worker's thread, between two steps; False where
        that has ended, or is about to."""
        with self._lock:
            if not self._refusal:
                self._new.put(work)
            return not self._refusal

    def active(self, checkpoint_id: str) -> int:
        """How many answers of this checkpoint are computed now."""
        return sum(a.checkpoint_id == checkpoint_id and not a.cancelled for a in self._open)

    def close(self) -> None:
        """End the thread; answers that are not complete get an EngineError."""
        self._refuse("the engine is closed")
        self._new.put(None)
        self._thread.join()

    def _refuse(self, why: str) -> None:
        with self._lock:
            self._refusal = self._refusal or why

    def _run(self) -> None:
        torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode():
                while self._admit():
                    self._step()
        except BaseException as error:
            log.exception("the engine's thread has ended")
            self._refuse(f"the engine's thread has ended: {error!r}")
        finally:
            self._end()

    def _step(self) -> None:
        for checkpoint, group in list(self._groups.items()):
            group.step()
            if not group.answers:
                del self._groups[checkpoint]
        self._open = [a for group in self._groups.values() for a in group.answers]

    def _end(self) -> None:
        """Nobody is left waiting for what does not come."""
        left = [answer for group in self._groups.values() for answer in group.answers]
        while not self._new.empty():
            item = self._new.get()
            if isinstance(item, Answer):
                left.append(item)
            elif item is not None:
                item()
        for answer in left:
            answer.fail(EngineError(self._refusal))
        self._open = []
        self._flush()

    def _admit(self) -> bool:
        """Take in what was submitted, waiting if there is nothing to do; False at the end."""
        while True:
            try:
                item = self._new.get(block=not self._groups)
            except queue.Empty:
                return True
            if item is None:
                return False
            if not isinstance(item, Answer):
                item()
                continue
            if item.checkpoint_id not in self._groups:
                group = Group(item.decoder, self._rows, self._guesses, self._flush)
                self._groups[item.checkpoint_id] = group
            self._groups[item.checkpoint_id].waiting.append(item)
            self._open = [*self._open, item]
