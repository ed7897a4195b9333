"""Which checkpoint answers a request, and how many requests each still answers."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, replace

from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.selection import Selection


class UnknownModel(LookupError):
    """Neither an alias nor a resident checkpoint."""


class NotReady(RuntimeError):
    """The alias exists, but its checkpoint cannot answer now."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a public model name leads. ``share`` of the sessions, from 0 to 1, go to ``canary``,
    and a share ``shadow`` of the requests that ``live`` answers is put to it too, for nobody to
    see."""

    name: str
    live: str
    canary: str | None
    share: float
    since: int
    """Unix time, in seconds, at which this router first knew the name."""
    shadow: float = 0.0
    by_answer: bool = False
    """Whether ``share`` is of the answers, each drawn for itself, whatever its session."""
    elsewhere: bool = False
    """Whether ``canary`` is on another base, so that another model's router has it."""
    model: str = ""
    tenant: str | None = None
    """Of a tenant's own branch: whose it is, and the public name under which it answers."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One request's checkpoint. ``alias`` is the model as it was asked for, and ``sold`` its public
    name, by which it is priced, also where it was asked for by the checkpoint's id."""

    alias: str
    sold: str
    checkpoint: str
    selection: Selection | None = None
    """When the checkpoint shows what it drafts; None where it shows all."""


def position(alias: str, canary: str, session: str) -> float:
    """Where a session stands in [0, 1): the same in every process, new for every canary.

    A session is in the canary if its position is below the share, so raising the share keeps
    every session that is in it.
    """
    text = f"{alias}\0{canary}\0{session}".encode()
    digest = hashlib.blake2b(text, digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53


class Router:
    """In memory, without I/O, for use from one event loop.

    ``set`` vouches that the alias's checkpoints can answer; ``resident`` replaces what is known
    to be able to, which are also the checkpoints that can be asked for by id: those of a tenant by
    that tenant alone, and by the service itself, which is nobody's (None). They are sold as the
    model ``sold``, where no alias has them.
    """

    def __init__(self, sold: str = "") -> None:
        self._sold = sold
        self._routes: dict[str, Route] = {}
        self._resident: frozenset[str] = frozenset()
        self._known: dict[str, Checkpoint] = {}
        self._selections: dict[str, Selection | None] = {}
        self._owners: dict[str, str] = {}
        self._branches: dict[tuple[str, str], Route] = {}
        self._asked: dict[tuple[str, str], None] = {}
        """Branches that were asked for, in the order in which they last were."""
        self._missed = set[tuple[str, str]]()
        """Those that could not answer when they were."""
        self.wake: Callable[[], None] = lambda: None
        """Called when a branch is asked for that has to be loaded first."""
        self._in_use: dict[str, int] = {}
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}

    def set(
        self,
        alias: str,
        live: str,
        canary: str | None = None,
        share: float = 0.0,
        shadow: float = 0.0,
        *,
        by_answer: bool = False,
        elsewhere: bool = False,
    ) -> None:
        """Point ``alias`` at its checkpoints; requests that are pinned already stay as they are."""
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"the canary share of {alias!r} is {share}, not in [0, 1]")
        known = self._routes.get(alias)
        since = known.since if known else int(time.time())
        self._routes[alias] = Route(alias, live, canary, share, since, shadow, by_answer, elsewhere)
        self._resident |= {live} if canary is None or elsewhere else {live, canary}

    def remove(self, alias: str) -> None:
        self._routes.pop(alias, None)

    def set_branches(self, routes: Iterable[Route]) -> None:
        """All branches of tenants that have something of their own, whether it can answer now or
        not; where it cannot, its tenant is answered as all others are."""
        before = self._branches
        self._branches = {}
        for route in routes:
            assert route.tenant is not None
            key = route.model, route.tenant
            since = before[key].since if key in before else route.since
            self._branches[key] = replace(route, since=since)
        self._asked = {key: None for key in self._asked if key in self._branches}
        self._missed &= self._branches.keys()

    def branches(self) -> tuple[Route, ...]:
        """Of tenants; loaded or not."""
        return tuple(self._branches.values())

    def branch_of(self, model: str, tenant: str | None) -> Route | None:
        """What a tenant has of its own of a model."""
        return None if tenant is None else self._branches.get((model, tenant))

    def recent(self) -> list[tuple[str, str]]:
        """The branches that were asked for, by model and tenant, the last one first."""
        return list(reversed(self._asked))

    def resident(self, ids: Iterable[str]) -> None:
        self._resident = frozenset(ids)

    def introduce(
        self,
        checkpoint: Checkpoint,
        selection: Selection | None = None,
        *,
        tenant: str | None = None,
    ) -> None:
        """Say what a checkpoint was made from, for those who ask about it, when it shows what it
        drafts, and whose it is, if it is a tenant's."""
        self._known[checkpoint.id] = checkpoint
        self._selections[checkpoint.id] = selection
        if tenant is not None:
            self._owners[checkpoint.id] = tenant

    def known(self, checkpoint: str) -> Checkpoint | None:
        return self._known.get(checkpoint)

    def routes(self) -> tuple[Route, ...]:
        return tuple(self._routes.values())

    def answers(self, model: str) -> bool:
        """Whether ``model`` is known: an alias or the id of a resident checkpoint."""
        return model in self._routes or model in self._resident

    def ready(self, checkpoint: str) -> bool:
        return checkpoint in self._resident

    @contextmanager
    def pin(
        self,
        model: str,
        session: str | None,
        *,
        tenant: str | None = None,
        checkpoint: str | None = None,
    ) -> Generator[Pin]:
        """Hold one checkpoint for as long as the context lasts: ``checkpoint``, if it is given.

        Else it is ``tenant``'s own of the model, where there is one that can answer. A session
        sticks to its side of a canary; without one, and where the share is of answers, the side is
        drawn. A canary that cannot answer is passed over for the live one. Raises UnknownModel,
        NotReady.
        """
        if checkpoint is None:
            checkpoint = self._resolve(model, session, tenant)
        elif checkpoint not in self._resident:
            raise NotReady(f"{checkpoint}, which {model!r} tries, is not loaded")
        sold = self._name(checkpoint) if model == checkpoint else model
        pin = Pin(model, sold, checkpoint, self._selections.get(checkpoint))
        self._in_use[pin.checkpoint] = self._in_use.get(pin.checkpoint, 0) + 1
        try:
            yield pin
        finally:
            self._release(pin.checkpoint)

    def _resolve(self, model: str, session: str | None, tenant: str | None) -> str:
        route = self._own_route(model, tenant) or self._routes.get(model)
        if route is None:
            if model in self._resident and self.may_ask(model, tenant):
                return model
            raise UnknownModel(model)
        canary = route.canary if route.canary in self._resident else None
        if canary is not None and _is_drawn(route, canary, session):
            return canary
        if route.live not in self._resident:
            raise NotReady(f"{route.live}, which {model!r} points at, is not loaded")
        return route.live

    def _name(self, checkpoint: str) -> str:
        """The public name of its model: first that under which it is released."""
        routes = self._routes.values()
        released = (one.name for one in routes if checkpoint in (one.live, one.canary))
        return next(released, self._sold or next(iter(self._routes), checkpoint))

    def draw_elsewhere(
        self, model: str, session: str | None, tenant: str | None = None
    ) -> str | None:
        """The canary on another base that a tenant's request of the session is for; None where this
        router has what answers."""
        if self._own_route(model, tenant) is not None:
            return None
        route = self._routes.get(model)
        if route is None or route.canary is None or not route.elsewhere:
            return None
        return route.canary if _is_drawn(route, route.canary, session) else None

    def may_ask(self, checkpoint: str, tenant: str | None) -> bool:
        """Whether a tenant, or the service itself (None), may ask for a checkpoint by its id."""
        owner = self._owners.get(checkpoint)
        return owner is None or tenant is None or tenant == owner

    def _own_route(self, model: str, tenant: str | None) -> Route | None:
        """The tenant's branch, if it can answer; that it was asked for is noted."""
        if tenant is None or (route := self._branches.get((model, tenant))) is None:
            return None
        key = model, tenant
        self._asked.pop(key, None)
        self._asked[key] = None
        is_whole = route.canary is None or route.canary in self._resident
        if route.live in self._resident and is_whole:
            self._missed.discard(key)
        elif key not in self._missed:  # once: many may ask before it is loaded
            self._missed.add(key)
            self.wake()
        return route if route.live in self._resident else None

    def draw_shadow(self, model: str, answered_by: str, tenant: str | None = None) -> str | None:
        """The checkpoint to put a request of ``tenant`` to that ``answered_by`` has answered, by
        chance."""
        route = self.branch_of(model, tenant)
        if route is None or answered_by not in (route.live, route.canary):
            route = self._routes.get(model)
        if route is None or route.canary is None or answered_by != route.live:
            return None
        there = route.elsewhere or route.canary in self._resident
        return route.canary if there and random.random() < route.shadow else None

    def _release(self, checkpoint: str) -> None:
        left = self._in_use[checkpoint] - 1
        if left:
            self._in_use[checkpoint] = left
            return
        del self._in_use[checkpoint]
        for waiter in self._waiting.pop(checkpoint, ()):
            if not waiter.done():
                waiter.set_result(None)

    def in_use(self, checkpoint: str) -> int:
        """Requests that are pinned to ``checkpoint``."""
        return self._in_use.get(checkpoint, 0)

    async def all_drained(self) -> None:
        """Returns once no request is pinned to any checkpoint."""
        while self._in_use:
            await self.drained(next(iter(self._in_use)))

    async def drained(self, checkpoint: str) -> None:
        """Returns once no request is pinned to ``checkpoint``.

        Point the aliases elsewhere first, else new requests keep it in use.
        """
        while self.in_use(checkpoint):
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(checkpoint, []).append(waiter)
            await waiter


def _is_drawn(route: Route, canary: str, session: str | None) -> bool:
    """Whether a request of the session is the canary's."""
    if session is None or route.by_answer:
        return random.random() < route.share
    return position(route.name, canary, session) < route.share
