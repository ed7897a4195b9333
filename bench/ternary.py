"""Ternary kernels beside what the machine can do: bytes of weights per second in a matrix-vector
product against the rate at which memory is read, and products per second with many tokens.

Shapes are those of an 8-billion-parameter model. Weights are read from memory, not from a cache:
many matrices are gone through in turn, more bytes than caches hold. With
`--decode`, a random model of 1.1 billion parameters (22 layers of 2048, MLPs of 5632) answers one
token at a time, through Transformers' layers and these kernels, beside llama.cpp's TQ2_0, Q4_0 and
F16 of the same shape.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from _report import arguments, finish, table
from liveweights.ternary.compilation import chosen, host
from liveweights.ternary.instructions import KNOWN, Instructions
from liveweights.ternary.product import multiply

SHAPES = ((4096, 4096), (4096, 12288), (12288, 4096))
"""Outputs and inputs."""
GROUP = 128
TOKENS = (8, 64, 512)
BEYOND = 1 << 30
"""Bytes that are read in a round."""


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


def make_config(layers: int) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        hidden_size=2048, intermediate_size=5632, num_hidden_layers=layers,
        num_attention_heads=32, num_key_value_heads=4, vocab_size=32000,
        max_position_embeddings=2048, tie_word_embeddings=False,
    )  # fmt: skip


def make_model(config: Any) -> Any:
    """A random one whose linear layers, output layer and embedding are ternary."""
    from transformers import LlamaForCausalLM

    from liveweights.ternary.reading import replace_layers
    from liveweights.weights.ternary.layout import Layout

    with torch.device("meta"):
        model: Any = LlamaForCausalLM(config)
    replace_layers(model, Layout(group_size=GROUP), torch.float32)
    model.to_empty(device="cpu")
    model.eval().requires_grad_(False)
    for name, buffer in model.named_buffers():
        if name.endswith("codes"):
            buffer.copy_(torch.randint(0, 2, buffer.shape, dtype=torch.uint8) * 0x55)
        elif name.endswith("scales"):
            buffer.fill_(0.01)
    for weight in model.parameters():
        weight.fill_(1.0)
    rotary = model.model.rotary_emb
    rotary.inv_freq = rotary.compute_default_rope_parameters(config)[0]
    return model


@torch.inference_mode()
def measure_decode(layers: int, threads: int, tokens: int) -> dict[str, Any]:
    """Tokens per second, one answer."""
    from liveweights.engines.torch.batch import Batch, prefill

    torch.set_num_threads(threads)
    model = make_model(make_config(layers))
    began = time.perf_counter()
    logits, cache = prefill(model, list(range(1, 129)), 0, [])
    read = time.perf_counter() - began
    batch = Batch(model)
    batch.join(cache)
    seconds: list[float] = []
    for _ in range(tokens):
        began = time.perf_counter()
        logits = batch.forward([[int(logits.argmax())]])[0, -1]
        batch.advance([1])
        seconds.append(time.perf_counter() - began)
    return {
        "kind": "ternary (this)", "threads": threads,
        "tokens/s": 1 / float(np.median(seconds)), "prefill tokens/s": 128 / read,
    }  # fmt: skip


def instruction_sets() -> list[Instructions]:
    features = host()[1]
    return [one for one in KNOWN if all(features.get(name, False) for name in one.needs)]


def main() -> None:
    options = arguments(__doc__ or "", decode=(False, "also decode a model of 1.1 billion"))
    rounds = 2 if options.quick else 5
    cores = min(2, len(os.sched_getaffinity(0)))
    threads = list(range(1, cores + 1))
    shapes = SHAPES[:1] if options.quick else SHAPES
    vectors = [measure_vector(shape, n, rounds) for shape in shapes for n in threads]
    table(f"One token, {chosen().name}", list(vectors[0]), [list(v.values()) for v in vectors])
    many = [
        measure_many(instructions, tokens, n, 3 if options.quick else 9)
        for instructions in instruction_sets()[:-1]
        for tokens in (TOKENS[:1] if options.quick else TOKENS)
        for n in threads
    ]
    table("Many tokens, 4096 x 4096", list(many[0]), [list(one.values()) for one in many])
    decoded: list[dict[str, Any]] = []
    if options.decode:
        layers = 2 if options.quick else 22
        decoded = [measure_decode(layers, n, 32) for n in threads]
        table("One answer", list(decoded[0]), [list(one.values()) for one in decoded])
    figures = {"instructions": chosen().name, "vector": vectors, "many": many, "decode": decoded}
    finish("ternary", options, figures, {})


if __name__ == "__main__":
    main()
