"""Can a model be served at all? Asked of every base before anything is told of it.

The files come from anywhere: libraries that read them may fail in any way, hang, or take all
memory. So the questions are asked in a process of its own, within limits. What it found is kept
by the checkpoint's id, which covers every file, so that the next start asks nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liveweights import __version__
from liveweights.catalog.template import TemplateSettings
from liveweights.catalog.template import find_fault as find_template_fault
from liveweights.child import describe, run_child
from liveweights.machine import end_with_parent, limit_memory
from liveweights.ternary.reading import register as register_ternary
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import source_files, weight_files
from liveweights.weights.loading import load_causal
from liveweights.weights.models import (
    OWN_CODE,
    BrokenModel,
    ModelAway,
    load_tokenizer,
    read_json,
    say,
)
from liveweights.weights.staging import write_whole
from liveweights.weights.tensors import open_tensors
from liveweights.weights.ternary.layout import read_layout

if TYPE_CHECKING:
    import torch

PATIENCE = 180.0
"""Seconds that the questions may take, on a busy machine, beside the reading of the weights."""
SLOWEST = 20 << 20
"""Bytes of weights that the slowest disk reads in a second."""
MEMORY = 8 << 30
"""Bytes of memory that the questions may take, beside the weights that are mapped."""
LONGEST_PROMPT = 100_000
"""Characters that a template may make of one."""
_CHUNK = 1 << 24
_UNMAPPED = "failed to map segment"
"""What the loader of libraries says where no memory is left for one."""
_LAYER = re.compile(r"(\S*?layers\.|\S*?\.h\.|\S*?blocks\.)\d+\.")
_GUESSING = re.compile(r"eh_proj|enorm|hnorm|nextn|mtp")
_LIBRARIES = ("transformers", "tokenizers", "safetensors", "gguf", "torch")


async def check_model(base: Checkpoint, model: str, engine: str, cache: Path) -> None:
    """Raise BrokenModel, with one sentence for whoever asked for ``model``, where the ``engine``
    (a kind, see ``EngineSettings``) could not serve ``base``.

    Its config, tokenizer, template and the engine's own needs are tried, its tensors are compared
    with what the config says, and each of their values must be a finite number. Raise ModelAway
    where the process that does this was killed.
    """
    kept = cache / "checked" / f"{base.id}.{engine}.json"
    libraries = {name: version(name) for name in _LIBRARIES} | {"liveweights": __version__}
    try:
        if json.loads(kept.read_text()) == libraries:
            return
    except (OSError, ValueError):
        pass  # not asked yet
    if (why := await _ask(base, model, engine)) is not None:
        raise BrokenModel(model, why)
    write_whole(kept, json.dumps(libraries).encode())


async def _ask(base: Checkpoint, model: str, engine: str) -> str | None:
    """Why it cannot be served, by a process that reads it; None where it can. Raises ModelAway."""
    size = sum(file.stat().st_size for file in weight_files(base.folder))
    patience = PATIENCE + size / SLOWEST
    command = [sys.executable, "-m", "liveweights.catalog.check"]
    command += [base.id, str(base.folder), engine, str(MEMORY + size)]
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    try:
        async with asyncio.timeout(patience):
            ended = await run_child(command, env=quiet)
    except TimeoutError:
        return f"reading it did not end within {patience:.0f} s"
    how = f"the process that read it ended with {describe(ended.code)}"
    if ended.was_killed:
        raise ModelAway(model, how)
    try:
        why: str | None = json.loads(ended.output)
    except ValueError:
        return f"{how}: {ended.last_line[:300]}"
    return why


def find_fault(base: Checkpoint, engine: str) -> str | None:
    """What is wrong with a model, in words; None where it can be served."""
    try:
        return next(_faults(base, engine), None)
    except Exception as error:  # whatever libraries find in files that are not theirs
        reason = say(error)
        return f"reading it takes too much memory: {reason}" if _UNMAPPED in str(error) else reason


def _faults(base: Checkpoint, engine: str) -> Iterator[str]:
    if source_files(base.folder):  # its tensors were compared with its header; llama.cpp reads them
        if engine != "llama":
            yield f"its weights are in a GGUF file, which only the llama engine reads, not {engine}"
        yield from _tokenizer_faults(
            base, int(read_json(base.folder / "config.json")["vocab_size"])
        )
        return
    ternary = read_layout(base.folder) is not None
    if ternary != (engine == "ternary"):
        known = "its weights are ternary" if ternary else "its weights are not ternary"
        yield f"{known}, and the {engine} engine serves no such (engine.kind)"
        return
    model, report = _build(base.folder)
    missing: set[str] = report["missing_keys"]
    if missing:
        yield f"its weights lack {_some(missing)}, which its config.json asks for"
    for name, stored, expected in sorted(report["mismatched_keys"]):
        yield f"{name} is {tuple(stored)} in its weights, {tuple(expected)} by its config.json"
    if beyond := layers_beyond(report["unexpected_keys"], model.state_dict()):
        yield f"its weights have {_some(beyond)}, more layers than its config.json asks for"
    rows: int = model.get_input_embeddings().num_embeddings
    yield from _tokenizer_faults(base, rows)
    if engine == "llama":
        from liveweights.weights.gguf import check_convertible

        check_convertible(base)
    for file in weight_files(base.folder):
        with open_tensors(file) as tensors:
            for name in tensors.keys():  # noqa: SIM118
                if not is_finite(tensors.get_tensor(name)):
                    yield f"{name} in {file} holds values that are no finite numbers"


def _tokenizer_faults(base: Checkpoint, rows: int) -> Iterator[str]:
    """What is wrong with tokenizer and template of a model with so many rows of embeddings."""
    if _has_foreign_tokenizer(base.folder):
        yield OWN_CODE
    tokenizer: Any = load_tokenizer(base)
    beyond = {name for name, id in tokenizer.get_vocab().items() if id >= rows}
    if beyond:
        yield f"its tokenizer knows {_some(beyond)}, beyond the {rows} rows of its embedding"
    if not tokenizer.encode("a", add_special_tokens=False):
        yield "its tokenizer's files are missing or empty: it makes no token of the letter a"
    # What it may refuse it may refuse; but it has to be a template, and to end.
    within = TemplateSettings(characters=LONGEST_PROMPT)
    if (why := asyncio.run(find_template_fault(tokenizer, within))) is not None:
        yield why


def layers_beyond(unexpected: Iterable[str], own: Iterable[str]) -> set[str]:
    """Tensors of layers that come after a model's ``own``: a config of another model makes a
    shorter one of its weights without a word.

    Layers that guess the tokens after the next one (multi-token prediction, arXiv 2412.19437) stand
    there by right.
    """
    numbered = [match for name in unexpected if (match := _LAYER.match(name))]
    guessing = {match[0] for match in numbered if _GUESSING.search(match.string)}
    lists = {match[1] for name in own if (match := _LAYER.match(name))}
    return {m.string for m in numbered if m[1] in lists and m[0] not in guessing}


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether each value is a finite number; reads it once, in pieces."""
    import torch

    if not tensor.is_floating_point():
        return True
    for piece in tensor.reshape(-1).split(_CHUNK):
        # Sums carry what is not finite, and cost the reading; adding up may also overflow.
        values = piece if piece.element_size() > 1 else piece.float()
        if not values.sum(dtype=torch.float32).isfinite() and not values.isfinite().all():
            return False
    return True


def _build(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The model without its weights, and how those in the files compare with it."""
    register_ternary()
    return load_causal(
        folder, device_map="meta", ignore_mismatched_sizes=True, output_loading_info=True
    )


def _has_foreign_tokenizer(folder: Path) -> bool:
    """Whether the tokenizer is a class that Transformers does not have; it would take another."""
    import transformers

    try:
        settings: Any = json.loads((folder / "tokenizer_config.json").read_text())
        own = "AutoTokenizer" in settings.get("auto_map", {})
        return own and not hasattr(transformers, settings.get("tokenizer_class", ""))
    except FileNotFoundError:
        return False


def _some(names: set[str]) -> str:
    first = sorted(names)
    return f"{first[0]!r}" + (f" and {len(first) - 1} more" if len(first) > 1 else "")


def main(arguments: list[str]) -> int:
    """``python -m liveweights.catalog.check ID FOLDER ENGINE BYTES`` prints the fault as JSON."""
    end_with_parent()
    id, folder, engine, memory = arguments
    answer = os.dup(1)
    os.dup2(2, 1)  # libraries print what they like
    limit_memory(int(memory))
    fault = find_fault(Checkpoint(id, "base", Path(folder)), engine)
    os.write(answer, json.dumps(fault).encode())
    return 0


if __name__ == "__main__":
    # Libraries may have left threads that do not end.
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
