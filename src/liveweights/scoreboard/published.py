"""Scores that others published, beside ours: who ran them, with which harness. Never ranked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from liveweights.catalog.cards import Card
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.names import UnknownModel


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """One score of a card of the catalogue. ``self_reported``: the maker ran it."""

    model: str
    benchmark: str
    value: float
    unit: str
    run_by: str
    self_reported: bool
    harness: str | None
    setting: str | None
    source: str


COLUMNS = ("model", "benchmark", "value", "unit", "run_by", "harness", "setting", "source")


def list_published(catalogue: Catalogue, bases: Mapping[str, str]) -> list[dict[str, object]]:
    """Scores of the cards that the catalogue has of ``bases``, by the models' public names."""
    return [
        msgspec.to_builtins(one)
        for model, base in bases.items()
        if (card := _find(catalogue, base)) is not None
        for one in _list(model, card)
    ]


def _list(model: str, card: Card) -> Iterable[Published]:
    for score in card.scores:
        yield Published(
            model=model,
            benchmark=" ".join(filter(None, (score.benchmark, score.version))),
            value=score.value,
            unit=score.unit,
            run_by=score.run_by,
            self_reported=score.run_by.casefold() == (card.maker or "").casefold(),
            harness=score.harness,
            setting=score.setting,
            source=score.source,
        )  # fmt: skip


def _find(catalogue: Catalogue, base: str) -> Card | None:
    try:
        return catalogue.find(base)
    except UnknownModel:
        return None
