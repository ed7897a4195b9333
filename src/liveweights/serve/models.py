"""The models of a service: what belongs to each, and which one a request is for."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from liveweights.engines.protocol import Engine
from liveweights.serve.api.encoder import Encoder
from liveweights.serve.api.infill import Infill, find_infill
from liveweights.serve.api.syntax.find import find_syntax, find_thinker
from liveweights.serve.api.syntax.protocol import Syntax
from liveweights.serve.api.syntax.thinking import Thinker
from liveweights.serve.api.tokenization import Tokenizer
from liveweights.serve.api.turns import Renderer
from liveweights.serve.memory.memory import Share
from liveweights.serve.router import NotReady, Pin, Route, Router, UnknownModel

LoadState = Literal["loading", "ready", "cold", "failed"]
"""``cold``: it is loaded when it is asked for."""


@dataclass(frozen=True, slots=True)
class Model:
    """One base with all that has been learnt from it. ``engine`` holds its checkpoints, and
    ``router`` says which of them answers for a public name; all share the tokenizer and what
    follows from it.

    Without ``template`` there are no chats, without ``infill`` nothing is filled in between, and
    without ``syntax`` no tools are called, and without ``thinker`` nothing is thought before.
    """

    engine: Engine
    router: Router
    tokenizer: Tokenizer
    encoder: Encoder
    template: Renderer | None
    infill: Infill | None
    syntax: Syntax | None
    thinker: Thinker | None
    share: Share | None = None
    """Its part of the memory; None where it stays loaded."""

    def state(self, checkpoint: str) -> LoadState:
        """Where the live ``checkpoint`` of one of its names stands."""
        if self.router.ready(checkpoint):
            return "ready"
        return "loading" if self.share is None else self.share.state


def make_model(
    engine: Engine,
    router: Router,
    tokenizer: Tokenizer,
    *,
    template: Renderer | None = None,
    share: Share | None = None,
) -> Model:
    """A model over an engine and a template that the caller opened and will close."""
    return Model(
        engine,
        router,
        tokenizer,
        Encoder(tokenizer, engine.context_length),
        template,
        find_infill(tokenizer),
        find_syntax(tokenizer),
        find_thinker(tokenizer),
        share,
    )


class Models:
    """All models of a service, which may come and go. Their public names and checkpoints are
    different ones. For use from one event loop."""

    def __init__(self, *models: Model) -> None:
        self._models = list(models)

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models)

    def add(self, model: Model, *, in_place_of: Model | None = None) -> None:
        """From now on it answers, where ``in_place_of`` does no more."""
        if in_place_of is None:
            self._models.append(model)
        else:
            self._models[self._models.index(in_place_of)] = model

    def remove(self, model: Model) -> None:
        """From now on it is unknown; requests that hold it go on."""
        self._models.remove(model)

    def states(self) -> dict[str, LoadState]:
        """By public name: whether it can answer now."""
        return {route.name: self.find(route.name).state(route.live) for route in self.routes()}

    def held(self) -> dict[str, int]:
        """By public name: the bytes that a model takes of a memory that is bounded."""
        return {
            route.name: model.share.held
            for model in self._models
            if model.share is not None
            for route in model.router.routes()
        }

    def can_answer(self, name: str) -> bool:
        """Whether a request for it would be answered, if after it was loaded."""
        share = None
        try:
            model = self.find(name)
            share = model.share
            with model.router.pin(name, None):
                return True
        except UnknownModel:
            return False
        except NotReady:
            return share is not None and share.state in ("cold", "loading")

    def find(self, name: str) -> Model:
        """Whose public name or resident checkpoint it is. Raises UnknownModel."""
        for model in self._models:
            if model.router.answers(name):
                return model
        raise UnknownModel(name)

    def choose(
        self, name: str, session: str | None, tenant: str | None = None
    ) -> list[tuple[Model, str | None]]:
        """Who answers a tenant's request of the session for that name, the next where one cannot:
        a model with the checkpoint of it that is meant, None where its router says. A canary on
        another base is another model's. Raises UnknownModel."""
        model = self.find(name)
        canary = model.router.draw_elsewhere(name, session, tenant)
        others = [one for one in self._models if canary is not None and one.router.ready(canary)]
        return [*((other, canary) for other in others[:1]), (model, None)]

    @contextmanager
    def pin(
        self, name: str, session: str | None, tenant: str | None = None
    ) -> Generator[tuple[Model, Pin]]:
        """One model and one checkpoint of it, which is held for as long as the context lasts.

        Raises UnknownModel, NotReady, as ``Router.pin`` does.
        """
        model = self.find(name)
        with model.router.pin(name, session, tenant=tenant) as pin:
            yield model, pin

    def routes(self) -> list[Route]:
        """One for each public name: while a name goes over to another base both have it, and the
        first answers."""
        routes: dict[str, Route] = {}
        for model in self._models:
            for route in model.router.routes():
                routes.setdefault(route.name, route)
        return list(routes.values())

    def resident(self) -> frozenset[str]:
        """The checkpoints that can answer."""
        return frozenset[str]().union(*(model.engine.resident() for model in self._models))

    def in_use(self) -> dict[str, int]:
        """The same, in order, and how many requests hold each."""
        return {
            checkpoint: model.router.in_use(checkpoint)
            for model in self._models
            for checkpoint in sorted(model.engine.resident())
        }

    def draw_shadow(self, name: str, answered_by: str, tenant: str | None = None) -> str | None:
        """See ``Router.draw_shadow``."""
        drawn = (model.router.draw_shadow(name, answered_by, tenant) for model in self._models)
        checkpoint = next((one for one in drawn if one is not None), None)
        there = checkpoint is not None and any(m.router.ready(checkpoint) for m in self._models)
        return checkpoint if there else None
