"""Full weights as a bit-exact, compressed difference to the parent's.

After a small update most 16-bit weights are bit for bit what they were: a step far below half a
unit in the last place is rounded away. The difference is the exclusive or of the bits, by planes
of equal significance (all first bytes, then all second bytes), deflated; planes of an unchanged
tensor are left out. ``delta.safetensors`` holds one byte tensor for each that changed, and in
its header the hashes of the parent that it belongs to and of the child that it makes.
"""

from __future__ import annotations

import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from liveweights.weights.content import weight_files
from liveweights.weights.staging import exclusive, publish, staged
from liveweights.weights.tensors import TensorHash, Tensors, open_tensors

FILE = "delta.safetensors"
FORMAT = "liveweights-delta-1"
WEIGHTS = "model.safetensors"
_OWN = {"card.json", "probes.json", "adapter_config.json", "model.safetensors.index.json"}
_LEVEL = 1  # the planes are mostly zero: higher levels cost ten times the time for a few percent


class DeltaError(ValueError):
    """A difference that cannot be made, read, or applied to these weights; says why."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a difference came to: values that changed of all, bytes of it and of the weights."""

    changed: int
    values: int
    delta_bytes: int
    whole_bytes: int


def is_delta(folder: Path) -> bool:
    """Whether the checkpoint in ``folder`` is kept as a difference."""
    return (folder / FILE).is_file()


def encode(parent: Path, child: Path, folder: Path) -> Size:
    """Write the difference between two folders of whole weights to ``folder``.

    The child's tensors are taken in the precision of the parent's. Raises DeltaError where the
    two do not have the same tensors in the same shapes.
    """
    from safetensors.torch import save_file

    before, after = Tensors(parent), Tensors(child)
    if before.names() != after.names():
        odd = sorted(set(before.names()) ^ set(after.names()))
        raise DeltaError(f"{parent} and {child} do not have the same tensors: {odd[:4]}")
    parent_hash, child_hash = TensorHash(), TensorHash()
    packed: dict[str, torch.Tensor] = {}
    changed = values = whole = 0
    for name in before.names():
        old = before.read(name)
        new = after.read(name).to(old.dtype)
        if old.shape != new.shape:
            raise DeltaError(f"{name} is {tuple(old.shape)} in {parent}, {tuple(new.shape)} now")
        parent_hash.add(name, old)
        child_hash.add(name, new)
        difference = _planes(old) ^ _planes(new)
        moved = int(difference.any(axis=0).sum())
        if moved:
            deflated = zlib.compress(difference.tobytes(), _LEVEL)
            packed[name] = torch.frombuffer(bytearray(deflated), dtype=torch.uint8)
        changed, values = changed + moved, values + old.numel()
        whole += old.numel() * old.element_size()
    folder.mkdir(parents=True, exist_ok=True)
    header = {
        "format": FORMAT,
        "parent": parent_hash.hexdigest(),
        "child": child_hash.hexdigest(),
        "changed": str(changed),
    }
    save_file(packed, folder / FILE, metadata=header)
    return Size(changed, values, (folder / FILE).stat().st_size, whole)


def apply(parent: Path, delta: Path, folder: Path) -> None:
    """Write to ``folder`` the whole checkpoint that ``delta`` makes of ``parent``.

    Tokenizer and configuration come from the parent, where ``delta`` has none of its own. Raises
    DeltaError where ``parent`` is not the one that it was made from, or the outcome not the one
    that it was made for; nothing is written then.
    """
    from safetensors.torch import save_file

    before = Tensors(parent)
    with open_tensors(delta / FILE) as stored:
        header: dict[str, str] = stored.metadata() or {}
        if header.get("format") != FORMAT:
            raise DeltaError(f"{delta / FILE} is {header.get('format')!r}, not {FORMAT!r}")
        names = set(stored.keys())
        parent_hash, child_hash = TensorHash(), TensorHash()
        whole: dict[str, torch.Tensor] = {}
        for name in before.names():
            old = before.read(name)
            parent_hash.add(name, old)
            if name in names:
                whole[name] = _patched(old, stored.get_tensor(name), delta)
            else:
                whole[name] = old
            child_hash.add(name, whole[name])
    if parent_hash.hexdigest() != header["parent"]:
        raise DeltaError(
            f"{delta} is a difference to weights with the hash {header['parent'][:12]};"
            f" those in {parent} have {parent_hash.hexdigest()[:12]}"
        )
    if child_hash.hexdigest() != header["child"]:
        raise DeltaError(f"{delta} does not make the weights that it was made for: it is damaged")
    folder.mkdir(parents=True, exist_ok=True)
    for source in (parent, delta):
        for file in source.iterdir():
            if file.is_file() and file not in weight_files(source) and file.name not in _OWN:
                shutil.copy2(file, folder / file.name)
    save_file(whole, folder / WEIGHTS, metadata={"format": "pt"})


def restore(parent: Path, delta: Path, name: str, cache: Path) -> Path:
    """The whole checkpoint of ``apply``, made in ``cache`` at first use and kept there.

    ``name`` is the checkpoint's id, which the cache trusts to stand for one content.
    """
    target = cache / "whole" / name
    if target.is_dir():
        return target
    with exclusive(target):
        if not target.is_dir():
            with staged(target) as folder:
                apply(parent, delta, folder / "whole")
                publish(folder / "whole", target)
    return target


def _planes(tensor: torch.Tensor) -> NDArray[np.uint8]:
    """Bytes of equal significance together: (bytes per value, values)."""
    raw = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    return np.ascontiguousarray(raw.reshape(-1, tensor.element_size()).T)


def _patched(old: torch.Tensor, deflated: torch.Tensor, delta: Path) -> torch.Tensor:
    planes = _planes(old)
    try:
        raw = zlib.decompress(deflated.numpy().tobytes(), bufsize=planes.size)
        difference = np.frombuffer(raw, dtype=np.uint8).reshape(planes.shape)
    except (zlib.error, ValueError) as error:
        raise DeltaError(f"{delta / FILE} cannot be read: {error}") from error
    patched = np.ascontiguousarray((planes ^ difference).T)
    return torch.from_numpy(patched).reshape(-1).view(old.dtype).reshape(old.shape)
