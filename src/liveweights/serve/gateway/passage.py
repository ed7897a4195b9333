"""One recorded request on its way through, and the rows that it becomes."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from liveweights.record.generation import Counts, Generation, Surface, count_used
from liveweights.serve.api.caller import Caller
from liveweights.serve.api.identifiers import make_id
from liveweights.serve.gateway.counts import Count, count_bytes, fill, with_thoughts
from liveweights.serve.gateway.fit import fit, fit_counts
from liveweights.serve.gateway.objects import ITEMS, Reference, is_id
from liveweights.serve.gateway.question import Question
from liveweights.serve.gateway.reader import Reader
from liveweights.serve.gateway.transcript import LONGEST, Said, Transcript, Unreadable

log = logging.getLogger(__name__)

_ELSEWHERE = ("prompt_tokens", "completion_tokens", "requests")
"""What is counted at an answer's first choice."""
_SAMPLED = ("completion_tokens", "reasoning_tokens")
NameVersion = Callable[[str, str], str]
"""From the model and the fingerprint that an upstream reports to the id of what answers."""


class Passage:
    """Times and reads one answer. ``id`` is the generation's, of its first choice if there are
    several. Nothing that an upstream says makes it raise."""

    def __init__(
        self,
        question: Question,
        endpoint: Surface,
        caller: Caller,
        kind: str | None = None,
        *,
        count: Count = count_bytes,
        name_version: NameVersion | None = None,
    ) -> None:
        """``kind``: the collection that the answer joins if it is kept. ``count`` estimates the
        tokens that the upstream does not count. ``name_version`` gives the id of what answers."""
        self.id = make_id("gen")
        self.transcript = Transcript()
        self.recorded = False
        self.unreadable = False
        """Whether the answer cannot be read, or not to its end; it passes none the less."""
        self.unsent = False
        """Whether the caller was told that there is none, though the upstream gave it."""
        self.unfit: list[str] = []
        """Fields whose values the record could not take as they were, known after ``finish``."""
        self._reader = Reader(self.transcript)
        self._question = question
        self._endpoint: Surface = endpoint
        self._caller = caller
        self._kind = kind
        self._count = count
        self._name_version = name_version
        self._checkpoint: str | None = None
        self._rows: deque[Generation] | None = None
        self._usage: tuple[int, dict[str, int]] = -1, {}
        """After how many bytes of the answer it was counted, and what."""
        self.created_at = datetime.now(UTC)
        self._started = time.perf_counter()
        self._first_byte_ms = 0.0

    def add_chunk(self, chunk: bytes) -> None:
        """A part of a stream has come; an empty one at its end."""
        if chunk and not self._first_byte_ms:
            self._first_byte_ms = self._elapsed_ms()
        if not self.unreadable:
            try:
                self._reader.feed(chunk)
            except ValueError as error:
                self.give_up(error)

    def look(self) -> None:
        """Read what has come, of which whole events may wait."""
        if not self.unreadable:
            try:
                self._reader.flush()
            except ValueError as error:
                self.give_up(error)

    def add_whole(self, body: bytes) -> None:
        """An answer that is not streamed has come."""
        self._first_byte_ms = self._elapsed_ms()
        try:
            self.transcript.add_whole(body)
        except Unreadable as error:
            self.give_up(error)

    def skim(self, part: bytes) -> None:
        """A part has come of an answer in one piece that is too long to be kept."""
        self._first_byte_ms = self._first_byte_ms or self._elapsed_ms()
        self.transcript.skim(part)

    def give_up(self, error: Exception) -> None:
        """It passes, but no more of it can be read."""
        self.unreadable = True
        log.warning("%s: the answer of %s cannot be read: %s", self.id, self.model, error)

    @property
    def model(self) -> str:
        """The name that was asked for, else the upstream's, else ``unknown``."""
        return self._question.model or self.transcript.model or "unknown"

    @property
    def has_answer(self) -> bool:
        """Whether anything of it has come, or the upstream has counted something of it."""
        transcript = self.transcript
        counted = max(map(transcript.usage.get, _SAMPLED, (0, 0)))
        return counted > 0 or any(said.begun for said in transcript.said)

    @property
    def is_versioned(self) -> bool:
        """Whether what answers has an id."""
        return self._name_version is not None

    @property
    def has_version(self) -> bool:
        """Whether the upstream has said which version answers."""
        return bool(self.transcript.model or self.transcript.fingerprint)

    def settle_checkpoint(self) -> str:
        """The id of what answers, by what the upstream has said of it so far; it stays."""
        if self._checkpoint is None:
            said = self.transcript
            if self._name_version is None:
                self._checkpoint = f"{said.model or self.model}@upstream"
            else:
                self._checkpoint = self._name_version(said.model or "", said.fingerprint or "")
        return self._checkpoint

    @property
    def tenant(self) -> str:
        return self._caller.tenant

    @property
    def made(self) -> list[Reference]:
        """What the upstream knows of the answer, as far as it has been said: the whole if it keeps
        it, and its parts in any case, which a later request may repeat."""
        if self._kind is None:
            return []
        kept, found = self._question.store, [(ITEMS, id) for id in self.transcript.items]
        if self.transcript.id and (self._kind == "responses" if kept is None else kept):
            found.append((self._kind, self.transcript.id))
        return [(kind, id) for kind, id in found if is_id(id)]

    def usage(self) -> dict[str, int]:
        """What the upstream counted of what has been said so far; what it did not is known by the
        tokens themselves, or estimated and marked so."""
        transcript = self.transcript
        if transcript.usage.keys() >= {"prompt_tokens", "completion_tokens"}:
            return with_thoughts(transcript.usage)
        if self._usage[0] != transcript.size:
            self._usage = transcript.size, self._estimate()
        return self._usage[1]

    def counts(self) -> Counts:
        """What all its choices used, as the record counts it; nothing where nothing came."""
        if not self.has_answer:
            return Counts(0, 0, requests=0)
        return count_used(fit_counts(self._told()), 0, 0)

    def _told(self) -> dict[str, int]:
        """What is recorded of what it used."""
        return self.usage() | {"sent_tokens": 0} if self.unsent else self.usage()

    def _estimate(self) -> dict[str, int]:
        transcript = self.transcript
        said = transcript.said
        known = dict(transcript.usage)
        more = max(transcript.size, LONGEST)
        if all(choice.ids for choice in said) and more == LONGEST:
            known.setdefault("completion_tokens", sum(len(choice.ids) for choice in said))
        if ids := transcript.prompt_ids or self._question.prompt_ids():
            known.setdefault("prompt_tokens", len(ids))
        return fill(
            known,
            prompt_tokens=lambda: self._question.count_prompt(self._count),
            # What is too long to be kept counts in proportion.
            completion_tokens=lambda: (
                -(-sum(self._count(one.reasoning() + one.text()) for one in said) * more // LONGEST)
            ),
        )

    def finish(self) -> list[Generation]:
        """The answer has ended or was cut off: a row for each choice that said something, one where
        none did of what the upstream has counted, and none where nothing of it could be read.

        Choice 0 has the passage's id, choice N the id with ``.N`` after it.
        """
        self.look()
        self.unfit.extend(self.transcript.unfit)
        rows: list[Generation] = []
        begun = [one for one in sorted(self.transcript.choices.items()) if one[1].begun]
        if not begun and self.has_answer:
            begun = [(0, Said())]
        for index, said in begun:
            row, unfit = fit(self._generation(index, said, first=not rows))
            self.unfit.extend(unfit)
            rows.append(row)
        return rows

    def pending(self) -> deque[Generation]:
        """The rows that have yet to join the record, once it has ended: whoever adds one takes it
        off, so that who is interrupted can go on with the others."""
        if self._rows is None:
            self._rows = deque(self.finish())
        return self._rows

    def _generation(self, index: int, said: Said, *, first: bool) -> Generation:
        question, caller, transcript = self._question, self._caller, self.transcript
        temperature = 1.0 if question.temperature is None else question.temperature
        top_p = 1.0 if question.top_p is None else question.top_p
        ids, raw = said.tokens()
        # What servers call log-probabilities is before temperature and cuts. The distribution
        # that was sampled from is known where there were none; learning takes the raw one for a
        # greedy choice.
        prompt_ids = transcript.prompt_ids or question.prompt_ids()
        return Generation(
            id=self.id if index == 0 else f"{self.id}.{index}",
            created_at=self.created_at,
            alias=self.model,
            checkpoint=self.settle_checkpoint(),
            endpoint=self._endpoint,
            prompt_ids=prompt_ids,
            output_ids=ids,
            logprobs=raw if question.plain else [0.0] * len(raw) if temperature == 0 else [],
            raw_logprobs=raw,
            output=said.text(),
            reasoning=said.reasoning(),
            finish_reason=said.reason or "cancelled",
            temperature=temperature,
            top_p=top_p,
            seed=question.seed,
            max_tokens=question.limit,
            tenant=caller.tenant,
            key=caller.recorded_key,
            user=caller.user,
            session=caller.session,
            surface=caller.surface,
            language=caller.language,
            consent=caller.consent,
            first_token_ms=self._first_byte_ms,
            total_ms=self._elapsed_ms(),
            metadata=caller.metadata,
            prompt=question.prompt_json(),
            # What is counted is the whole answer: it stands at its first choice.
            usage=self._told() if first else dict.fromkeys(_ELSEWHERE, 0),
        )

    def _elapsed_ms(self) -> float:
        return (time.perf_counter() - self._started) * 1000
