"""Models of a service on the bases that their aliases were switched to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from liveweights.config import Config
from liveweights.cycle.bases import Standing


def at_bases(config: Config, bases: Mapping[str, Standing]) -> Config:
    """The same settings, with each model on the base that its alias was switched to.

    Settings that name neither that base nor one that the alias was switched from say something
    new: they stay as they are.
    """
    for model in config.list_models():
        standing = bases.get(model.alias)
        if standing is None or model.base not in standing.models.values():
            continue
        name = standing.models.get(standing.stands)
        if name is not None and name != model.base:
            config = config.with_base(model.alias, name)
    return config


class Change(NamedTuple):
    """``open`` another base beside the one that answers, ``take over`` from that, or ``close``
    what is beside."""

    kind: Literal["open", "take over", "close"]
    base: str


def plan_change(
    standing: Standing, *, answers: str, beside: str | None, is_ready: bool
) -> Change | None:
    """What an instance does next with a model whose alias goes over to another base. Pure.

    ``answers`` and ``beside`` are the bases that it has open, ``is_ready`` whether what is beside
    answers under the name. What answers goes on until what takes its place does.
    """
    wanted = standing.tries if answers == standing.stands else standing.stands
    wanted = None if wanted == answers else wanted
    if beside is None:
        return None if wanted is None else Change("open", wanted)
    if beside != wanted:
        return Change("close", beside)
    return Change("take over", beside) if beside == standing.stands and is_ready else None
