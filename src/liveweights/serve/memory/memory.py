"""Lets local models have memory, and takes it from those that nobody has asked for longest."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from liveweights.serve.memory.plan import Part, make_plan

PATIENCE = 2.0
"""Seconds for which a model waits for others to be idle, before busy ones take no new requests."""
LOOK = 1.0
"""Seconds between looks at what models really take."""


class NoRoom(RuntimeError):
    """What is to be loaded does not fit into the memory that models may take."""


class Unloaded(RuntimeError):
    """The model goes without what it asked for, until somebody asks for it (again)."""


class NotLoaded(RuntimeError):
    """A request waited for its model in vain, or could not even wait; the message says why."""


@dataclass(slots=True, eq=False)
class _Wish:
    """Memory that a checkpoint asks for."""

    size: int
    spare: bool
    since: float
    granted: asyncio.Future[None]


@dataclass(slots=True, eq=False)
class Share:
    """One model's part of the memory. ``key`` is its own among all. ``wake`` tells its deployer to
    look again; ``measure`` says how many bytes its checkpoints take now."""

    key: str
    memory: Memory
    pinned: bool
    measure: Callable[[], int]
    wake: Callable[[], None] = lambda: None
    awake: bool = True
    """Whether the deployer should hold its checkpoints: at the start, so that what fits is loaded
    before it is asked for."""
    warm: bool = False
    """Whether the gate tries one of its checkpoints, which has to stay for as long."""
    asked: bool = False
    """Whether it was ever asked for; before, it is loaded only where there is room."""
    used_at: float = 0.0
    failure: str | None = None
    """Why it is not there, though it should be."""
    _there: bool = False
    _users: int = 0
    _waiting: set[asyncio.Future[None]] = field(default_factory=set[asyncio.Future[None]])
    _arriving: set[asyncio.Future[None]] = field(default_factory=set[asyncio.Future[None]])
    """Requests that were told that it is there, and did not get to run yet."""
    _wishes: dict[str, _Wish] = field(default_factory=dict[str, _Wish])
    _promised: dict[str, int] = field(default_factory=dict[str, int])
    """By checkpoint that is being loaded."""
    _known: dict[str, int] = field(default_factory=dict[str, int])
    """What each checkpoint took when it was loaded last."""
    _measured: int = 0

    @property
    def held(self) -> int:
        """Bytes that it takes, or was granted."""
        return self._measured + sum(self._promised.values())

    @property
    def users(self) -> int:
        """Requests that hold it or wait for it."""
        return self._users

    @property
    def state(self) -> Literal["loading", "ready", "cold", "failed"]:
        """``cold``: it is loaded when it is asked for."""
        if self._there:
            return "ready"
        if not self.awake:
            return "cold"
        return "loading" if self.failure is None else "failed"

    @property
    def asking(self) -> bool:
        """Whether it waits for memory."""
        return bool(self._wishes)

    @asynccontextmanager
    async def use(self) -> AsyncGenerator[float]:
        """Hold the model for one request, loaded if it can be. The value is how many seconds it
        was waited for, 0 where it was there. Raises NotLoaded."""
        self._users += 1
        self.used_at = time.monotonic()
        try:
            yield 0.0 if self._there else await self._wait()
        finally:
            self._users -= 1
            self.used_at = time.monotonic()
            self.look()
            self.memory.released()

    async def _wait(self) -> float:
        """Returns where loading has failed, too: the router says what is missing."""
        if self._failed:
            return 0.0
        if len(self._waiting) >= self.memory.most_waiting:
            raise NotLoaded(f"{len(self._waiting)} requests wait for it to be loaded")
        began = time.monotonic()
        arrival = asyncio.get_running_loop().create_future()
        self._waiting.add(arrival)
        self.call()
        try:
            async with asyncio.timeout(self.memory.seconds):
                await arrival
        except TimeoutError:
            raise NotLoaded(f"it could not be loaded within {self.memory.seconds:g} s") from None
        finally:
            self._waiting.discard(arrival)
            self._arriving.discard(arrival)
        return time.monotonic() - began

    @property
    def _failed(self) -> bool:
        return self.awake and self.failure is not None

    def call(self) -> None:
        """Somebody asks for it."""
        self.asked = True
        for wish in self._wishes.values():
            if wish.spare and not wish.granted.done():
                wish.spare, wish.since = False, time.monotonic()
        self._revive()
        self.memory.step()

    def _revive(self) -> None:
        """Load again, once all is unloaded, if somebody asks for it."""
        if not self.awake and not self.held and (self._waiting or self.warm or self.pinned):
            self.awake = True
            self.wake()

    def settle(self, *, there: bool, warm: bool, failure: str | None) -> None:
        """What its deployer sees: whether requests can be answered, whether the gate tries one of
        its checkpoints, and why one that is live cannot be loaded."""
        self._there = there and self.awake
        self.warm = warm
        self.failure = None if there else failure
        if self._there or self._failed:
            for arrival in self._waiting:
                if not arrival.done():
                    arrival.set_result(None)
                    self._arriving.add(arrival)
            self._waiting.clear()
        self._revive()
        self.memory.step()

    async def reserve(self, checkpoint: str, size: int) -> None:
        """Return once the checkpoint may take ``size`` bytes, or what it took last time. Raises
        NoRoom, Unloaded."""
        granted = asyncio.get_running_loop().create_future()
        # At the start, before anybody asked for it.
        spare = not (self.asked or self.pinned or self.warm or self.held)
        wish = _Wish(self._known.get(checkpoint, size), spare, time.monotonic(), granted)
        self._wishes[checkpoint] = wish
        self.memory.step()
        try:
            await granted
        finally:
            del self._wishes[checkpoint]

    def loaded(self, checkpoint: str) -> None:
        """What was granted to the checkpoint is taken, or not needed: its loading has ended."""
        self._promised.pop(checkpoint, None)
        before = self._measured
        self._measured = self.measure()
        if self._measured > before:
            self._known[checkpoint] = self._measured - before
        self.memory.step()

    def unloaded(self) -> None:
        """A checkpoint has been unloaded."""
        self.look()
        self.memory.step()

    def look(self) -> None:
        """Measure what it takes now."""
        self._measured = self.measure()
        self._revive()

    def describe(self) -> Part:
        """For the plan: of what it asks for, the first. Requests for which it was loaded have it
        before anybody else."""
        awake = self.awake
        wish = next((w for w in self._wishes.values() if not w.granted.done()), None)
        return Part(
            name=self.key,
            held=self.held,
            need=0 if wish is None else max(1, wish.size),
            asked_at=0.0 if wish is None else wish.since,
            used_at=self.used_at,
            pinned=self.pinned,
            kept=self.warm or bool(self._promised or self._arriving or (awake and self._waiting)),
            busy=self._users > len(self._waiting),
            leaving=not awake,
            spare=wish is not None and wish.spare,
        )

    def grant(self) -> None:
        """What it asks for first is its own now."""
        for checkpoint, wish in self._wishes.items():
            if not wish.granted.done():
                self._promised[checkpoint] = wish.size
                wish.granted.set_result(None)
                return

    def refuse(self, budget: int) -> None:
        """What it asks for first does not fit."""
        for checkpoint, wish in self._wishes.items():
            if not wish.granted.done():
                if wish.spare:
                    self.sleep()
                    return
                told = f"{checkpoint} needs {_gib(wish.size)} more memory"
                error = NoRoom(f"{told}, and models.memory_gib is {_gib(budget)} for all models")
                wish.granted.set_exception(error)
                return

    def sleep(self) -> None:
        """Unload all, once the requests in flight have ended."""
        self.awake = self._there = False
        for wish in self._wishes.values():
            if not wish.granted.done():
                wish.granted.set_exception(Unloaded("the model was unloaded before"))
        self.wake()


class Memory:
    """What all local models of this process may take. For use from one event loop.

    ``budget`` is in bytes. ``most_waiting`` requests for a model that is not loaded wait, each for
    ``seconds`` at most. After ``patience`` seconds a model that waits for memory gets that of one
    that is never idle.
    """

    def __init__(
        self, budget: int, *, most_waiting: int, seconds: float, patience: float = PATIENCE
    ) -> None:
        self.budget = budget
        self.most_waiting = most_waiting
        self.seconds = seconds
        self._patience = patience
        self._shares: dict[str, Share] = {}
        self._numbers = itertools.count()

    @property
    def held(self) -> int:
        """Bytes that all take, or were granted."""
        return sum(share.held for share in self._shares.values())

    def share(self, name: str, measure: Callable[[], int], *, pinned: bool = False) -> Share:
        """A part of it for one more model."""
        # One that takes another's place has its name beside it for a while.
        share = Share(f"{name} {next(self._numbers)}", self, pinned, measure)
        self._shares[share.key] = share
        return share

    def leave(self, share: Share) -> None:
        """The model is gone, and so is what it took."""
        del self._shares[share.key]
        self.step()

    def released(self) -> None:
        """A request has ended."""
        if self.held > self.budget or any(share.asking for share in self._shares.values()):
            self.step()

    def step(self) -> None:
        """Let come and go whoever should now."""
        shares = self._shares
        parts = [share.describe() for share in shares.values()]
        plan = make_plan(parts, self.budget, now=time.monotonic(), patience=self._patience)
        for name in plan.unload:
            shares[name].sleep()
        for name in plan.grant:
            shares[name].grant()
        for name in plan.refuse:
            shares[name].refuse(self.budget)

    async def run(self) -> None:
        """For ever: see what models take now, and who has waited long enough."""
        while True:
            await asyncio.sleep(LOOK)
            for share in self._shares.values():
                share.look()
            self.step()


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g} GiB"
