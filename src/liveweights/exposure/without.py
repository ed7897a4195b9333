"""What is imagined to be gone: ``maker=X``, ``country=CN``, ``upstream=Y``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from liveweights.exposure.facts import DIMENSIONS, Dimension, Served

NAMES = {"origin": "country", **{name: name for name in DIMENSIONS}}
"""What people may write, and what it means."""


class WithoutError(ValueError):
    """What is to be gone is not understood, or no model is of it."""


@dataclass(frozen=True, slots=True)
class Without:
    """Every model that is, or was derived from one, of that value."""

    dimension: Dimension
    value: str

    def find(self, model: Served) -> str | None:
        """The value of the model that this means; None: it stays."""
        wanted = _letters(self.value)
        for value in model.values(self.dimension):
            here = _letters(value)
            whole = self.dimension == "country"
            if here == wanted or (wanted and not whole and wanted in here):
                return value
        return None

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
    return Without(cast(Dimension, NAMES[name]), value)


def reasons(model: Served, gone: Iterable[Without]) -> Iterator[str]:
    """Why a model would be gone, if it would."""
    for one in gone:
        if (value := one.find(model)) is not None:
            yield f"{one.dimension} {value}"


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text).casefold()
