"""Whether a checkpoint's weights are alike those of a base that is at hand.

Correlations of sampled rows of matrices. Matrices that were drawn or trained apart hardly
correlate. Training on, merging with what was trained on, and quantising move weights little. Rows
that were reordered, or other names, hide a likeness: where none is found, nothing is shown.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from liveweights.weights.content import weight_files
from liveweights.weights.tensors import open_tensors

if TYPE_CHECKING:
    import torch

ALIKE = 0.25
"""Correlation from which on one was made from the other: several times the highest, 0.03, of
matrices that have nothing to do with one another (docs/measured.md)."""
SAMPLED = 12
"""Matrices that are compared."""
VALUES = 1 << 16
"""Values of each that are read, of whole rows."""
_LEAST = 1 << 12
"""Values of a matrix that is compared at all."""
_LAYER = re.compile(r"(?:layers|h|blocks)\.(\d+)\.(.+)$")


@dataclass(frozen=True, slots=True)
class Place:
    """A matrix of a layer: in which file, under which name."""

    file: Path
    name: str
    layer: int


@dataclass(frozen=True, slots=True)
class Likeness:
    """Of the sampled matrices of a checkpoint the correlations with those of a base, each the
    highest over the base's layers; in the order of the layers."""

    correlations: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.correlations) if self.correlations else 0.0

    @property
    def is_alike(self) -> bool:
        """Whether most of the matrices were made from the base's."""
        return self.median >= ALIKE


def compare_weights(folder: Path, base: Path) -> Likeness:
    """Compare a checkpoint folder with a base's. Without a matrix of the same place in a layer and
    the same shape in both there is nothing to compare. Raises OSError, BrokenFile."""
    ours, theirs = find_matrices(folder), find_matrices(base)
    shared = [(key, place) for key in ours.keys() & theirs.keys() for place in ours[key]]
    shared.sort(key=lambda one: (one[1].layer, one[1].name))
    found: list[float] = []
    for key, place in spread(shared, SAMPLED):
        rows = _read_rows(place)
        others = [_read_rows(other) for other in theirs[key]]
        found.append(max(correlate(rows, other) for other in others))
    return Likeness(tuple(found))


def correlate(one: torch.Tensor, other: torch.Tensor) -> float:
    """Pearson's r of two tensors of one shape; 0 where one is constant."""
    import torch

    centred = [tensor - tensor.mean() for tensor in (one, other)]
    scale = centred[0].norm() * centred[1].norm()
    return float(torch.sum(centred[0] * centred[1]) / scale) if scale > 0 else 0.0


def find_matrices(folder: Path) -> Mapping[tuple[str, tuple[int, ...]], list[Place]]:
    """The matrices of the layers, by their name within the layer and shape. Raises OSError,
    BrokenFile."""
    found: dict[tuple[str, tuple[int, ...]], list[Place]] = defaultdict(list)
    for file in weight_files(folder):
        with open_tensors(file, "np") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                part = tensors.get_slice(name)
                shape = tuple(part.get_shape())
                match = _LAYER.search(name)
                floating = part.get_dtype().startswith(("F", "BF"))
                if match and floating and len(shape) == 2 and shape[0] * shape[1] >= _LEAST:
                    found[match[2], shape].append(Place(file, name, int(match[1])))
    return found


def spread(places: Iterable[Any], count: int) -> list[Any]:
    """At most ``count`` of them, evenly from the first to the last."""
    whole = list(places)
    if len(whole) <= count:
        return whole
    return [whole[round(n * (len(whole) - 1) / (count - 1))] for n in range(count)]


def _read_rows(place: Place) -> torch.Tensor:
    """Rows of the middle of a matrix, as float32."""
    with open_tensors(place.file) as tensors:
        part = tensors.get_slice(place.name)
        rows, columns = part.get_shape()
        count = min(rows, max(1, VALUES // columns))
        first = (rows - count) // 2
        return part[first : first + count].float()
