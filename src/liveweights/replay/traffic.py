"""Several replayed developers at once, each with sessions of their own."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from liveweights.replay.client import Client, Reaction, RequestFailed, Suggestion
from liveweights.replay.corpus import SourceFile
from liveweights.replay.developer import Outcome, Position, judge, positions
from liveweights.replay.settings import TrafficSettings


@dataclass(slots=True)
class Counts:
    """Outcomes of one checkpoint's answers."""

    accepted: int = 0
    rejected: int = 0
    silence: int = 0

    @property
    def shown(self) -> int:
        return self.accepted + self.rejected

    @property
    def asked(self) -> int:
        return self.shown + self.silence

    def add(self, outcome: Outcome) -> None:
        setattr(self, outcome, getattr(self, outcome) + 1)


@dataclass(slots=True)
class Tally:
    """What happened so far. Every HTTP request counts, those of feedback too."""

    completions: int = 0
    feedback: int = 0
    failed: int = 0
    checkpoints: dict[str, Counts] = field(default_factory=dict[str, Counts])
    """By checkpoint, in the order of their first answer."""
    reactions: int = 0
    """Suggestions, silence included, with a reaction that is durable."""
    errors: deque[str] = field(default_factory=lambda: deque[str](maxlen=20))
    """The last failures, in words."""
    seconds: deque[float] = field(default_factory=lambda: deque[float](maxlen=5000))
    """The last completions' latencies."""

    @property
    def requests(self) -> int:
        return self.completions + self.feedback

    def latency(self, share: float) -> float:
        """Quantile of the last completions' seconds; NaN without any."""
        ordered = sorted(self.seconds)
        return ordered[int(share * (len(ordered) - 1))] if ordered else float("nan")

    def fail(self, error: RequestFailed) -> None:
        self.failed += 1
        self.errors.append(str(error))


class Pace:
    """Spaces turns evenly, ``rate`` per second; time that nobody used is not made up for."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._next = 0.0

    async def turn(self) -> None:
        now = asyncio.get_running_loop().time()
        turn = max(now, self._next)
        self._next = turn + 1.0 / self.rate
        await asyncio.sleep(turn - now)


class Traffic:
    """Types ``files`` again and again against the alias ``model`` until it is stopped.

    ``tally`` may be read at any time. A request that fails is counted and not repeated.
    """

    def __init__(
        self,
        client: Client,
        files: Sequence[SourceFile],
        *,
        model: str,
        settings: TrafficSettings | None = None,
        tally: Tally | None = None,
    ) -> None:
        if not files:
            raise ValueError("no files to replay")
        self.tally = tally or Tally()
        self._client = client
        self._model = model
        self._settings = settings or TrafficSettings()
        self._pace = Pace(self._settings.rate)
        self._sessions = sessions(files, self._settings)
        self._asked = 0
        self._stopped = asyncio.Event()
        # Distinguishes the sessions of this run from those of another against the same service.
        self._run = uuid.uuid4().hex[:8]

    async def run(self) -> Tally:
        """Replay until ``stop`` or ``max_requests``; requests under way are finished."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._settings.developers):
                group.create_task(self._develop(f"developer-{number}"))
        return self.tally

    def hurry(self, rate: float) -> None:
        """From now on at most ``rate`` suggestions per second, all developers together."""
        self._pace.rate = rate

    def stop(self) -> None:
        self._stopped.set()

    async def _develop(self, user: str) -> None:
        for number, places in enumerate(self._sessions):
            session = f"{self._run}-{user}-{number}"
            for position in places:
                await self._pace.turn()
                limit = self._settings.max_requests
                if self._stopped.is_set() or (limit and self._asked >= limit):
                    return
                self._asked += 1
                await self._type(position, user, session)

    async def _type(self, position: Position, user: str, session: str) -> None:
        self.tally.completions += 1
        try:
            suggestion = await self._client.complete(
                position.prompt,
                model=self._model,
                temperature=self._settings.temperature,
                max_tokens=self._settings.max_tokens,
                session=session,
                user=user,
            )
        except RequestFailed as error:
            self.tally.fail(error)
            # A service that is gone refuses in microseconds; do not spin.
            await asyncio.sleep(0.2)
            return
        self.tally.seconds.append(suggestion.seconds)
        outcome = judge(suggestion.text, position.expected)
        self.tally.checkpoints.setdefault(suggestion.checkpoint, Counts()).add(outcome)
        await self._react(suggestion, outcome, position)

    async def _react(self, suggestion: Suggestion, outcome: Outcome, position: Position) -> None:
        reactions = list_reactions(outcome, position)
        self.tally.feedback += 1
        try:
            await self._client.feedback(suggestion.generation, *reactions)
        except RequestFailed as error:
            self.tally.fail(error)
        else:
            self.tally.reactions += 1


def list_reactions(outcome: Outcome, position: Position) -> list[Reaction]:
    """What is told of a suggestion. What the developer wrote is known to the editor also where
    nothing was suggested."""
    reactions = [] if outcome == "silence" else [Reaction(outcome)]
    if outcome != "accepted":
        reactions.append(Reaction("correction", position.correction))
    return reactions


def sessions(
    files: Sequence[SourceFile], settings: TrafficSettings
) -> Iterator[Sequence[Position]]:
    """Stretches of consecutive positions without end, handed to whichever developer is free.

    Every pass goes through all files in another order and begins elsewhere in each.
    """
    draw = random.Random(f"{settings.seed}:sessions")
    for turn in range(1_000_000):
        order = list(files)
        draw.shuffle(order)
        for file in order:
            places = positions(
                file.text,
                file=file.name,
                language=file.language,
                seed=settings.seed + turn,
                share=settings.share,
                mid_share=settings.mid_share,
                window=settings.window,
            )
            length = settings.session_positions
            first = draw.randrange(max(1, len(places) - length + 1))
            if places:
                yield places[first : first + length]
