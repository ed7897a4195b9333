"""Whole weights that somebody else trained on a base: looked at before they are taken in.

Nothing but numbers is: configuration, tokenizer and templates stay the base's.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from liveweights.catalog.fingerprint import read_vocabulary
from liveweights.catalog.similarity import compare_weights
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import source_files, weight_files
from liveweights.weights.delta import encode
from liveweights.weights.foreign import ForeignError, refuse_pickles
from liveweights.weights.models import OWN_CODE, read_json
from liveweights.weights.tensors import Tensors, read_shapes


@dataclass(frozen=True, slots=True)
class Finetuned:
    """Weights that fit: how many values differ from the base's, of how many; and the median
    correlation of their matrices with the base's, None where none is large enough to tell."""

    changed: int
    values: int
    likeness: float | None


def take_finetuned(folder: Path, base: Checkpoint, target: Path) -> Finetuned:
    """Write the difference between the safetensors in ``folder`` and those of ``base`` to
    ``target``, in the precision of the base.

    Names and shapes of all tensors and, where it is there, the vocabulary must be the base's, and
    matrices must be alike: those of models that were trained apart are not. Raises ForeignError,
    BrokenFile, DeltaError, OSError.
    """
    refuse_pickles(folder)
    if not weight_files(folder):
        raise ForeignError("it holds no safetensors: neither an adapter nor whole weights")
    if source_files(base.folder):
        raise ForeignError(
            f"{base.id} is in GGUF files, to which whole weights are no difference; import an"
            " adapter, or serve the weights as a model of their own"
        )
    if "auto_map" in read_json(folder / "config.json"):
        raise ForeignError(OWN_CODE)
    card = read_json(folder / "card.json")
    stated = card.get("root") or card.get("base")
    if isinstance(stated, str) and stated != base.id:
        raise ForeignError(f"it was made on {stated}, not on {base.id}")
    _check_shapes(folder, base)
    vocabularies = read_vocabulary(folder), read_vocabulary(base.folder)
    if None not in vocabularies and vocabularies[0] != vocabularies[1]:
        raise ForeignError(f"its vocabulary is not that of {base.id}: it is of another base")
    likeness = compare_weights(folder, base.folder)
    if likeness.correlations and not likeness.is_alike:
        raise ForeignError(
            f"its weights are not alike those of {base.id} (correlation {likeness.median:.2f}): it"
            " is of another base"
        )
    _check_numbers(folder)
    size = encode(base.folder, folder, target)
    if not size.changed:
        raise ForeignError(f"it changes nothing: its weights are those of {base.id}")
    shutil.copyfile(base.folder / "config.json", target / "config.json")
    return Finetuned(
        changed=size.changed,
        values=size.values,
        likeness=likeness.median if likeness.correlations else None,
    )


def _check_shapes(folder: Path, base: Checkpoint) -> None:
    ours, theirs = read_shapes(folder), read_shapes(base.folder)
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in ours:
            raise ForeignError(f"it has no {name}, as {base.id} has: it is of another base")
        if name not in theirs:
            raise ForeignError(f"it has {name}, which {base.id} does not have: it is of another")
        if ours[name] != theirs[name]:
            made, wanted = (" x ".join(map(str, one[name])) for one in (ours, theirs))
            raise ForeignError(
                f"its {name} is {made}; in {base.id} it is {wanted}: it is of another base"
            )


def _check_numbers(folder: Path) -> None:
    tensors = Tensors(folder)
    for name in tensors.names():
        if not tensors.read(name).isfinite().all():
            raise ForeignError(f"its {name} is not all numbers")
