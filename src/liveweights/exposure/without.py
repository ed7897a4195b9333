"""What is imagined to be gone: ``maker=X``, ``country=CN``, ``upstream=Y``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import cast, get_args

from liveweights.catalog.filters import UNKNOWN
from liveweights.exposure.facts import DIMENSIONS, Dimension, Served
from liveweights.terms.facts import LicenceKind

NAMES = {"origin": "country", **{name: name for name in DIMENSIONS}}
"""What people may write, and what it means."""
_COUNTRY = re.compile(rf"[A-Za-z]{{2}}|{UNKNOWN}")


class WithoutError(ValueError):
    """What is to be gone is not understood, or no model is of it."""


@dataclass(frozen=True, slots=True)
class Without:
    """Every model that is, or was derived from one, of that value."""

    dimension: Dimension
    value: str

    def find(self, model: Served) -> str | None:
        """The value of the model that this means; None: it stays."""
        return next((one for one in model.values(self.dimension) if self.means(one)), None)

    def means(self, value: str) -> bool:
        """Whether it stands for ``value``: of a country whole, else also as a part of it."""
        wanted, here = _letters(self.value), _letters(value)
        return here == wanted or (self.dimension != "country" and wanted in here)

    def check(self, models: Iterable[Served], licences: Iterable[str]) -> None:
        """Raises WithoutError where neither one of ``models`` nor of ``licences`` is of it. Any
        country may be asked about, and what is not known."""
        if self.dimension == "country" or self.value == UNKNOWN:
            return
        values = {value for model in models for value in model.values(self.dimension)}
        if self.dimension == "licence":
            values |= {*licences}
        if self.dimension == "licence_kind":
            values |= {*get_args(LicenceKind)}
        if not any(self.means(value) for value in values):
            told = sorted(value for value in values if value)
            near = get_close_matches(self.value, told, 3) or told
            raise WithoutError(
                f"no model is of the {self.dimension} {self.value[:80]!r}; there are "
                + ", ".join(near)
            )

    def __str__(self) -> str:
        return f"{self.dimension} {self.value}"


def parse_without(text: str) -> Without:
    """``NAME=VALUE``; a part of a value stands for all values that it is a part of. Raises
    WithoutError."""
    name, is_there, value = (part.strip() for part in text.partition("="))
    if not is_there or not _letters(value) or name not in NAMES:
        raise WithoutError(
            f"{text[:80]!r}: write NAME=VALUE, such as origin=CN; names are {', '.join(NAMES)}"
        )
    one = Without(cast(Dimension, NAMES[name]), value)
    if one.dimension == "country" and not _COUNTRY.fullmatch(value):
        raise WithoutError(f"{text[:80]!r}: a country is two letters of ISO 3166, such as CN")
    return one


def reasons(model: Served, gone: Iterable[Without]) -> Iterator[str]:
    """Why a model would be gone, if it would."""
    for one in gone:
        if (value := one.find(model)) is not None:
            yield f"{one.dimension} {value}"


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()
