"""The tensors of a checkpoint folder, whatever files they are spread over."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from liveweights.weights.content import weight_files

if TYPE_CHECKING:
    import torch


class BrokenFile(ValueError):
    """A safetensors file is cut off, or is not what its header says; names it."""


def open_tensors(file: Path, framework: Literal["pt", "np"] = "pt") -> Any:
    """A safetensors file, mapped into memory until the ``with`` on it ends; ``np`` reads names and
    shapes without torch.

    Raises BrokenFile where header and file do not agree, OSError.
    """
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(file, framework=framework)
    except SafetensorError as error:
        raise BrokenFile(f"{file} is not a whole safetensors file: {error}") from error


class Tensors:
    """Reads the safetensors of a folder, one tensor at a time. Raises OSError, BrokenFile, and
    ValueError where there are none."""

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, Any] = {}
        for file in weight_files(folder):
            opened = open_tensors(file)
            self._files.update(dict.fromkeys(opened.keys(), opened))
        if not self._files:
            raise ValueError(f"{folder} holds no tensors")

    def names(self) -> list[str]:
        return sorted(self._files)

    def read(self, name: str) -> torch.Tensor:
        return self._files[name].get_tensor(name)


def read_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor, from the files' headers. Raises OSError, BrokenFile."""
    shapes: dict[str, tuple[int, ...]] = {}
    for file in weight_files(folder):
        with open_tensors(file, "np") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                shapes[name] = tuple(tensors.get_slice(name).get_shape())
    return shapes


def read_dtypes(folder: Path) -> dict[str, torch.dtype]:
    """The precision that each tensor is stored in."""
    tensors = Tensors(folder)
    return {name: tensors.read(name).dtype for name in tensors.names()}


class TensorHash:
    """SHA-256 over names, precisions, shapes and bytes of tensors, added in order of name."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, name: str, tensor: torch.Tensor) -> None:
        self._digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        self._digest.update(as_bytes(tensor))

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def as_bytes(tensor: torch.Tensor) -> memoryview:
    """The tensor's memory, in order."""
    import torch

    raw: Any = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    return memoryview(raw)
