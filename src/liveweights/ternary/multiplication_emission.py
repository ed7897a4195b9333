"""All of one product in one call, as LLVM's intermediate representation: rounding activations, the
product, what an adapter adds, and starting the threads that compute them.

A call from Python takes as long as a small product; so there is one.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from liveweights.ternary.activation_emission import emit_rounding
from liveweights.ternary.emission import (
    F32,
    I8,
    I32,
    I64,
    POINTER,
    at,
    declare,
    loop,
    number,
    smaller,
    write_job,
)
from liveweights.ternary.instructions import Instructions
from liveweights.ternary.job import (
    ADAPTER_ARGUMENTS,
    ARGUMENTS,
    BLOCK,
    DOWN,
    JOB,
    LOW_RANK_JOB,
    UP,
)
from liveweights.ternary.low_rank_emission import emit_low_rank
from liveweights.ternary.product_emission import emit_product

PANEL = 1 << 18
"""Bytes of activations that are rounded, and then read for each block of rows: they stay near the
core. They lie on the stack."""
SHARE = 1 << 16
"""Bytes of weights that a thread takes at once."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Of a kernel: columns per scale, tokens that it computes together, whether the processor makes
    float32 of float16 by itself, and whether an adapter's matrices are float16; None: no adapter.
    """

    group: int
    tile: int
    halves: bool
    adapter: bool | None


def emit_multiplication(instructions: Instructions, kind: Kind) -> str:
    """``multiply(...)`` with ``job.ARGUMENTS``, and those of an adapter if there is one: writes
    ``out`` [T, N], T a multiple of the tile, in ``threads`` threads. ``parallel`` is the address of
    a function that starts them, as ``threads.runner`` tells it; with one thread it is not asked.
    """
    module = ir.Module("multiplication")
    round_ = emit_rounding(module, instructions.width)
    product = emit_product(module, instructions, kind.group, kind.tile, halves=kind.halves)
    names = ARGUMENTS + (() if kind.adapter is None else ADAPTER_ARGUMENTS)
    function = declare(module, "multiply", [F32 if name == "scale" else I64 for name in names])
    b = ir.IRBuilder(function.append_basic_block())
    given: dict[str, Any] = dict(zip(names, function.args, strict=True))
    jobs = b.bitcast(b.alloca(I64, len(JOB) + len(LOW_RANK_JOB)), POINTER)
    low_job, low_rank = at(b, jobs, number(8 * len(JOB))), None
    if kind.adapter is not None:
        low_rank = emit_low_rank(module, instructions.width // 4, kind.adapter)
        _begin_adapter(b, given, low_job)
    first = product if low_rank is None else _emit_both(module, product, low_rank)
    with _panels(b, given, round_, kind.tile) as values:
        write_job(b, jobs, JOB, values)
        _run(b, given, first, jobs)
    if low_rank is not None:
        write_job(b, low_job, LOW_RANK_JOB, {"phases": number(UP)})
        _run(b, given, low_rank, low_job)
    b.ret_void()
    return str(module)


def _emit_both(module: Any, product: Any, low_rank: Any) -> Any:
    """What threads do first where there is an adapter: the product, and the adapter's first phase,
    neither of which needs the other."""
    function = declare(module, "both", [POINTER])
    b = ir.IRBuilder(function.append_basic_block())
    b.call(product, [function.args[0]])
    b.call(low_rank, [at(b, function.args[0], number(8 * len(JOB)))])
    b.ret_void()
    return function


def _begin_adapter(b: Any, given: Mapping[str, Any], job: Any) -> None:
    hidden = _reserve(b, b.mul(b.mul(given["tokens"], given["rank"]), number(4)))
    values = {name: given[name] for name in ("x", "down", "up", "rank", "out", "tokens")}
    values |= {"hidden": hidden, "inputs": given["columns"], "outputs": given["rows"]}
    values |= {"phases": number(DOWN), "rank_taken": number(0), "outputs_taken": number(0)}
    values["scale"] = b.zext(b.bitcast(given["scale"], I32), I64)
    write_job(b, job, LOW_RANK_JOB, values)


@contextmanager
def _panels(b: Any, given: Mapping[str, Any], round_: Any, tile: int) -> Generator[dict[str, Any]]:
    """For each panel of tokens, once its activations are rounded: the values of its job."""
    rows, columns, every = given["rows"], given["columns"], given["tokens"]
    share = b.mul(_at_least_one(b, b.sdiv(number(4 * SHARE // BLOCK), columns)), number(BLOCK))
    panel = b.mul(_at_least_one(b, b.sdiv(number(PANEL // tile), columns)), number(tile))
    panel = _fill(b, smaller(b, panel, every), tile)
    size = b.mul(panel, columns)
    activations = _reserve(b, b.add(size, b.lshr(b.mul(size, number(5)), number(4))))
    sums = b.add(activations, size)
    steps = b.add(sums, b.lshr(size, number(2)))
    panels = b.sdiv(b.add(every, b.sub(panel, number(1))), _at_least_one(b, panel))
    with loop(b, number(0), panels, 1) as turn:
        begin = b.mul(turn.index, panel)
        tokens = smaller(b, b.sub(every, begin), panel)
        x = b.add(given["x"], b.mul(b.mul(begin, columns), number(4)))
        to = [b.inttoptr(one, POINTER) for one in (activations, sums, steps)]
        b.call(round_, [b.inttoptr(x, POINTER), tokens, columns, *to])
        yield {
            "codes": given["codes"],
            "scales": given["scales"],
            "activations": activations,
            "sums": sums,
            "steps": steps,
            "out": b.add(given["out"], b.mul(b.mul(begin, rows), number(4))),
            "rows": rows,
            "columns": columns,
            "tokens": _fill(b, tokens, tile),
            "taken": number(0),
            "share": share,
        }


def _reserve(b: Any, size: Any) -> Any:
    """The address of so many bytes on the stack."""
    reserved = b.alloca(I8, size)
    reserved.align = 64
    return b.ptrtoint(reserved, I64)


def _fill(b: Any, tokens: Any, tile: int) -> Any:
    """Tokens with those that only fill the last tile."""
    return b.and_(b.add(tokens, number(tile - 1)), number(-tile))


def _at_least_one(b: Any, value: Any) -> Any:
    return b.select(b.icmp_signed("<", value, number(1)), number(1), value)


def _run(b: Any, given: Mapping[str, Any], function: Any, job: Any) -> None:
    """Call ``function`` with the job in all threads, and wait."""
    alone = b.icmp_signed("==", given["threads"], number(1))
    with b.if_else(alone) as (here, everywhere):
        with here:
            b.call(function, [job])
        with everywhere:
            kind = ir.FunctionType(ir.VoidType(), [POINTER, POINTER, I32, I32])
            start = b.inttoptr(given["parallel"], kind.as_pointer())
            none = ir.Constant(I32, 0)
            threads = b.trunc(given["threads"], I32)
            b.call(start, [b.bitcast(function, POINTER), job, threads, none])
