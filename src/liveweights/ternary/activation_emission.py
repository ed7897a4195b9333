"""Rounding activations to bytes, as LLVM's intermediate representation; their order is that in
which ``product_emission``'s kernel reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from liveweights.ternary.emission import (
    F32,
    I8,
    I32,
    I64,
    POINTER,
    at,
    call,
    declare,
    load,
    loop,
    number,
    spread,
)


def emit_rounding(module: Any, width: int) -> Any:
    """``round(x, tokens, columns, activations, sums, steps)``: ``x`` [T, K] float32 as bytes and a
    step per 64 columns, x ~ byte * step with step = max |x| / 127, in the order for ``width``."""
    kinds = [POINTER, I64, I64, POINTER, POINTER, POINTER]
    function = declare(module, "round", kinds)
    x, tokens, columns, activations, sums, steps = function.args
    b = ir.IRBuilder(function.append_basic_block())
    whole = b.and_(columns, number(-4 * width))
    with loop(b, number(0), tokens, 1) as turn:
        begin = b.mul(turn.index, columns)
        values = at(b, x, b.mul(begin, number(4)))
        targets = (
            at(b, activations, begin),
            at(b, sums, b.lshr(begin, number(2))),
            at(b, steps, b.lshr(begin, number(4))),
        )
        for strip, span in ((width, (number(0), whole)), (16, (whole, columns))):
            with loop(b, *span, 4 * strip) as block, loop(b, number(0), number(strip), 16) as part:
                _emit_chunk(b, values, targets, (strip, block.index, part.index))
    b.ret_void()
    return function


def _emit_chunk(b: Any, values: Any, targets: tuple[Any, ...], place: tuple[int, Any, Any]) -> None:
    """64 columns: 16 bytes for each shift, four sums, and a step."""
    activations, sums, steps = targets
    strip, block, part = place
    column = b.add(block, b.mul(part, number(4)))
    floats, words = ir.VectorType(F32, 16), ir.VectorType(I32, 16)
    offsets = [b.mul(b.add(column, number(16 * shift)), number(4)) for shift in range(4)]
    given = [load(b, at(b, values, offset), floats) for offset in offsets]
    largest, limit = _find_largest(b, given), ir.Constant(F32, 127.0)
    step = b.bitcast(at(b, steps, b.lshr(column, number(4))), F32.as_pointer())
    b.store(b.fdiv(largest, limit), step, align=4)
    none = b.fcmp_ordered("==", largest, ir.Constant(F32, 0.0))
    inverse = spread(b, b.select(none, ir.Constant(F32, 0.0), b.fdiv(limit, largest)), 16)
    total: Any = ir.Constant(words, [0] * 16)
    for shift, value in enumerate(given):
        scaled = b.fmul(value, inverse)
        rounded = b.fptosi(call(b, "llvm.rint.v16f32", floats, [scaled]), words)
        total = b.add(total, rounded)
        target = at(b, activations, b.add(block, b.add(number(strip * shift), part)))
        narrow = ir.VectorType(I8, 16)
        b.store(b.trunc(rounded, narrow), b.bitcast(target, narrow.as_pointer()), align=1)
    fours = ir.VectorType(I32, 4)
    added: Any = ir.Constant(fours, [0] * 4)
    for place_ in range(4):
        picked = ir.Constant(fours, [place_, place_ + 4, place_ + 8, place_ + 12])
        added = b.sub(added, b.shuffle_vector(total, total, picked))
    target = at(b, sums, b.lshr(column, number(2)))
    b.store(added, b.bitcast(target, fours.as_pointer()), align=4)


def _find_largest(b: Any, vectors: Sequence[Any]) -> Any:
    """The largest magnitude in vectors [16]: as integers magnitudes are in the same order."""
    words = ir.VectorType(I32, 16)
    mask = ir.Constant(words, [0x7FFFFFFF] * 16)
    largest: Any = ir.Constant(words, [0] * 16)
    for vector in vectors:
        magnitude = b.and_(b.bitcast(vector, words), mask)
        largest = call(b, "llvm.umax.v16i32", words, [largest, magnitude])
    return b.bitcast(call(b, "llvm.vector.reduce.umax.v16i32", I32, [largest]), F32)
