"""Ternary kernels beside what the machine can do: bytes of weights per second in a matrix-vector
product against the rate at which memory is read, and products per second with many tokens.

Shapes are those of an 8-billion-parameter model. Weights are read from memory, not from a cache:
many matrices are gone through in turn, more bytes than caches hold. With `--decode`, a random model
of 1.1 billion parameters (22 layers of 2048, MLPs of 5632) reads a prompt and answers, through
Transformers' layers and these kernels, beside llama.cpp's TQ2_0, Q4_0 and F16 of the same shape on
as many threads. With `--large`, one of 8.2 billion (Qwen3 8B's shape) is written, loaded and asked
in a process of its own, whose memory is looked at.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from _child import run_child
from _report import arguments, finish, table
from _ternary_models import LARGE, SMALL, Shape, draw_codes, write_ternary
from _ternary_peers import make_peers, measure_peer
from liveweights.config import Config
from liveweights.ternary.compilation import chosen, host
from liveweights.ternary.instructions import KNOWN, Instructions
from liveweights.ternary.product import multiply

SHAPES = ((4096, 4096), (4096, 12288), (12288, 4096))
"""Outputs and inputs."""
GROUP = 128
TOKENS = (8, 64, 512)
BEYOND = 1 << 30
"""Bytes that are read in a round."""
PROMPT = 256
ADAPTER_RANK = 16
GOALS: dict[str, dict[str, Any]] = {
    "TQ2_0": {"decode goal": 1.2, "prefill goal": 1.5},
    "Q4_0": {"decode goal": 2.0, "prefill goal": None},
    "F16": {"decode goal": 5.0, "prefill goal": None},
}
"""How often as fast as llama.cpp with those weights is asked for."""
ADAPTER_GOAL = 0.85
"""Of the speed without an adapter."""
LARGE_GOAL = 2_500_000_000
MEMORY = ("resident", "anonymous", "peak")


@dataclass(frozen=True)
class Matrix:
    codes: torch.Tensor
    scales: torch.Tensor

    @classmethod
    def draw(cls, rows: int, columns: int) -> Matrix:
        codes = torch.randint(0, 2, (rows, columns // 4), dtype=torch.uint8) * 0x55
        return cls(codes, torch.full((rows, columns // GROUP), 0.01, dtype=torch.float16))


def seconds_of(works: Sequence[Callable[[], object]], rounds: int, threads: int) -> float:
    """What one of some pieces of work takes, that are gone through in turn: the time that a fifth
    of them stayed below. One thread's is its time on the core, whatever else the machine does."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    taken: list[float] = []
    for _ in range(rounds):
        for work in works:
            began = clock()
            work()
            taken.append(clock() - began)
    return float(np.percentile(taken, 20))


def measure_vector(shape: tuple[int, int], threads: int, rounds: int) -> dict[str, Any]:
    """A token's products with matrices that lie in memory."""
    torch.set_num_threads(threads)
    size = shape[0] * shape[1] // 4 + shape[0] * shape[1] // GROUP * 2
    matrices = [Matrix.draw(*shape) for _ in range(max(4, BEYOND // size))]
    plain = torch.ones(len(matrices), size // 8, dtype=torch.int64)
    x_TK = torch.randn(1, shape[1])
    product = seconds_of(
        [partial(multiply, x_TK, one.codes, one.scales) for one in matrices], rounds, threads
    )
    reading = seconds_of([row.max for row in plain], rounds, threads)
    return {
        "shape": f"{shape[0]} x {shape[1]}", "threads": threads, "GB/s": size / product / 1e9,
        "read GB/s": size / reading / 1e9, "share": reading / product,
        "microseconds": product * 1e6,
    }  # fmt: skip


def measure_many(
    instructions: Instructions, tokens: int, threads: int, rounds: int
) -> dict[str, Any]:
    torch.set_num_threads(threads)
    rows, columns = SHAPES[0]
    matrix, x_TK = Matrix.draw(rows, columns), torch.randn(tokens, columns)
    dense = torch.randn(rows, columns)

    def packed() -> object:
        return multiply(x_TK, matrix.codes, matrix.scales, instructions)

    product = seconds_of([packed], rounds, threads)
    floats = seconds_of([lambda: torch.nn.functional.linear(x_TK, dense)], rounds, threads)
    work = rows * columns * tokens / 1e9
    return {
        "instructions": instructions.name, "tokens": tokens, "threads": threads,
        "billion products/s": work / product, "float32, torch": work / floats,
    }  # fmt: skip


def make_model(shape: Shape) -> Any:
    """A random one whose linear layers, output layer and embedding are ternary, as it is served."""
    from transformers import AutoModelForCausalLM

    from liveweights.engines.torch import attention
    from liveweights.ternary.reading import replace_layers
    from liveweights.weights.ternary.layout import Layout

    attention.register()
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(shape.config(), trust_remote_code=False)
    replace_layers(model, Layout(group_size=GROUP), torch.float32)
    model.to_empty(device="cpu")
    model.eval().requires_grad_(False)
    for seed, (name, buffer) in enumerate(model.named_buffers()):
        if name.endswith("codes"):
            rows, width = buffer.shape
            buffer.copy_(torch.from_numpy(draw_codes(rows, width * 4, seed)))
        elif name.endswith("scales"):
            buffer.fill_(0.01)
    for weight in model.parameters():
        weight.fill_(1.0)
    rotary = model.model.rotary_emb
    rotary.inv_freq = rotary.compute_default_rope_parameters(model.config)[0]
    return model


def adapt(model: Any) -> Any:
    """With a random adapter beside every linear layer, as a cycle leaves one and the engine serves
    it."""
    from peft import LoraConfig, get_peft_model

    from liveweights.engines.torch.adapters import replace_adapted
    from liveweights.learn.updaters.lora import STORED

    config = LoraConfig(r=ADAPTER_RANK, target_modules="all-linear", init_lora_weights=False)
    adapted: Any = get_peft_model(model, config).eval().requires_grad_(False)
    for name, weight in adapted.named_parameters():
        if "lora_" in name:
            weight.copy_(weight.to(STORED))
    replace_adapted(adapted)
    return adapted


@torch.inference_mode()
def measure_decode(model: Any, kind: str, threads: int, rounds: int, tokens: int) -> dict[str, Any]:
    """Tokens per second of one answer and of reading its prompt, the median of ``rounds``."""
    from liveweights.engines.torch.batch import Batch, prefill

    torch.set_num_threads(threads)
    reads: list[float] = []
    seconds: list[float] = []
    for number in range(rounds + 1):
        began = time.perf_counter()
        ids = [10 + (number + place) % 200 for place in range(PROMPT)]
        logits, cache = prefill(model, ids, 0, [])
        reads.append(time.perf_counter() - began)
        batch = Batch(model)
        batch.join(cache)
        for _ in range(tokens):
            began = time.perf_counter()
            logits = batch.forward([[int(logits.argmax())]])[0, -1]
            batch.advance([1])
            seconds.append(time.perf_counter() - began)
    return {
        "kind": kind, "threads": threads,
        "tokens/s": 1 / float(np.median(seconds[tokens:])),
        "prefill tokens/s": PROMPT / float(np.median(reads[1:])),
    }  # fmt: skip


def measure_models(threads: Sequence[int], quick: bool) -> list[dict[str, Any]]:
    """A model of 1.1 billion weights, without and with an adapter, and llama.cpp's of its shape,
    all in turn."""
    rounds, tokens = (1, 4) if quick else (3, 32)
    shape = replace(SMALL, layers=2) if quick else SMALL
    cache = Config().cache_folder()
    place = cache / "bench" / ("ternary-peers-quick.v1" if quick else "ternary-peers.v1")
    files = make_peers(place, cache, shape)
    found: list[dict[str, Any]] = []
    model = make_model(shape)
    for count in threads:
        found.append(measure_decode(model, "ternary (this)", count, rounds, tokens))
        found += [
            measure_peer(kind, file, count, prompt=PROMPT, tokens=tokens, rounds=rounds)
            for kind, file in files.items()
        ]
    adapted = adapt(model)
    found += [
        measure_decode(adapted, f"ternary, adapter of rank {ADAPTER_RANK}", n, rounds, tokens)
        for n in threads
    ]
    return found


def judge_models(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """How often as fast as each peer this is, and what is asked for."""
    by = {(one["kind"], one["threads"]): one for one in found}
    rows: list[dict[str, Any]] = []
    for kind, threads in by:
        if kind.startswith("ternary (this)"):
            continue
        ours, other = by["ternary (this)", threads], by[kind, threads]
        if kind.startswith("ternary"):
            ratio = other["tokens/s"] / ours["tokens/s"]
            asked = {"decode goal": ADAPTER_GOAL, "prefill goal": None}
            prefill = other["prefill tokens/s"] / ours["prefill tokens/s"]
        else:
            ratio = ours["tokens/s"] / other["tokens/s"]
            asked = GOALS[kind.split()[-1]]
            prefill = ours["prefill tokens/s"] / other["prefill tokens/s"]
        rows.append({"against": kind, "threads": threads, "decode": ratio, "prefill": prefill}
                    | asked)  # fmt: skip
    return rows


def measure_large(tokens: int, shape: Shape = LARGE) -> dict[str, Any]:
    """A model of 8 billion weights in a process of its own: its memory, and its speed."""
    cache = Config().cache_folder()
    with tempfile.TemporaryDirectory(prefix="liveweights-ternary-", dir=cache) as name:
        folder = write_ternary(Path(name) / "model", shape, GROUP)
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        script = Path(__file__).with_name("_ternary_answer.py")
        command = [sys.executable, script, folder, Path(name) / "cache", str(tokens)]
        ended = run_child(command, capture=True)
        if ended.returncode:
            raise SystemExit(f"the large model did not answer: {ended.stderr[-2000:]}")
        return {"file_bytes": size, **json.loads(ended.stdout.splitlines()[-1])}


def show_large(found: dict[str, Any]) -> None:
    names = ("imported", "loaded", "answered")
    rows = [[name, *(found[name][kind] / 1e9 for kind in MEMORY)] for name in names]
    table("8 billion ternary weights, GB of memory once", ["step", *MEMORY], rows)
    print(
        f"files {found['file_bytes'] / 1e9:.3f} GB; loaded in {found['load_seconds']:.1f} s, first "
        f"of {found['tokens']} tokens after {found['first_seconds']:.1f} s, then "
        f"{found.get('tokens_per_second', 0):.2f} a second; at most "
        f"{found['answered']['peak'] / 1e9:.3f} GB, {LARGE_GOAL / 1e9:.1f} are the bound",
        flush=True,
    )


def instruction_sets() -> list[Instructions]:
    features = host()[1]
    return [one for one in KNOWN if all(features.get(name, False) for name in one.needs)]


def main() -> None:
    options = arguments(
        __doc__ or "",
        decode=(False, "also a model of 1.1 billion weights beside llama.cpp's"),
        large=(False, "also the memory that 8 billion weights take"),
        only=(False, "only what --decode and --large name"),
    )
    rounds = 2 if options.quick else 5
    cores = min(2, len(os.sched_getaffinity(0)))
    threads = list(range(1, cores + 1))
    figures: dict[str, Any] = {"instructions": chosen().name, "load": os.getloadavg()[0]}
    if not options.only:
        figures |= measure_kernels(threads, rounds, options.quick)
    if options.decode:
        found = measure_models(threads, options.quick)
        table("One answer", list(found[0]), [list(one.values()) for one in found])
        judged = judge_models(found)
        table("Times as fast", list(judged[0]), [list(one.values()) for one in judged])
        figures |= {"decode": found, "ratios": judged}
    if options.large:
        shape = replace(LARGE, layers=1) if options.quick else LARGE
        figures["large"] = measure_large(4 if options.quick else 16, shape)
        show_large(figures["large"])
    finish("ternary", options, figures, {})


def measure_kernels(threads: Sequence[int], rounds: int, quick: bool) -> dict[str, Any]:
    shapes = SHAPES[:1] if quick else SHAPES
    vectors = [measure_vector(shape, n, rounds) for shape in shapes for n in threads]
    table(f"One token, {chosen().name}", list(vectors[0]), [list(v.values()) for v in vectors])
    many = [
        measure_many(instructions, tokens, n, 3 if quick else 9)
        for instructions in instruction_sets()[:-1]
        for tokens in (TOKENS[:1] if quick else TOKENS)
        for n in threads
    ]
    table("Many tokens, 4096 x 4096", list(many[0]), [list(one.values()) for one in many])
    return {"vector": vectors, "many": many}


if __name__ == "__main__":
    main()
