"""The kernel of products with ternary weights as LLVM's intermediate representation.

Shapes: N rows of weights, K columns, G columns per scale, T tokens in a tile, R rows in a block, W
bytes in a vector.

A token's activations are K bytes in the order in which a kernel reads them: of each 4W columns,
for each of four shifts, W bytes, of which 16 neighbours each belong to 64 columns (``matrix``).
What does not fill a vector comes after that, 64 columns each in their own order. Beside them are
K/16 sums: minus the sum of the 4 by 4 activations that a place of the vector gets, so that codes,
which are trits plus one, give what the trits would; and K/64 steps, by which 64 columns' bytes are
multiplied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from liveweights.ternary.emission import (
    F16,
    F32,
    I8,
    I16,
    I32,
    POINTER,
    add_up,
    at,
    block_rows,
    call,
    declare,
    load,
    loop,
    number,
    prefetch,
    read_job,
    shares,
    spread,
)
from liveweights.ternary.instructions import Instructions, portable_dot
from liveweights.ternary.job import BLOCK, JOB, STEP


@dataclass(frozen=True, slots=True)
class Strip:
    """How a part of the rows is read: ``width`` bytes of codes at a time; with ``halves`` their
    scales by the processor's own conversion."""

    width: int
    dot: Any
    halves: bool

    @property
    def lanes(self) -> int:
        return self.width // 4

    @property
    def columns(self) -> int:
        return self.width * 4


def emit_product(
    module: Any, instructions: Instructions, group: int, tile: int, *, halves: bool
) -> Any:
    """``product(job)``: takes blocks of rows for as long as there are any, and writes what each
    gives for every token, ``tile`` tokens at a time. ``halves`` is whether the processor makes
    float32 of float16 by itself.

    ``out`` [T, N] float32 = sum over 64 columns each of scale * step * (trits . activations).
    """
    function = declare(module, "product", [POINTER])
    b = ir.IRBuilder(function.append_basic_block())
    job = read_job(b, function.args[0], JOB, 6)
    taken = at(b, function.args[0], number(8 * JOB.index("taken")))

    with (
        shares(b, taken, job["share"], job["rows"]) as (first, end),
        loop(b, first, end, BLOCK) as rows,
        loop(b, number(0), job["tokens"], tile) as tokens,
    ):
        wide = Strip(instructions.width, instructions.dot, halves)
        _emit_tile(b, job, wide, (group, tile), (rows.index, tokens.index))
    b.ret_void()
    return function


def _emit_tile(
    b: Any,
    job: dict[str, Any],
    wide: Strip,
    shape: tuple[int, int],
    place: tuple[Any, Any],
) -> None:
    """R rows by T tokens from (row, token) on; rows beyond the last are the last once more."""
    group, tile = shape
    row, token = place
    columns = job["columns"]
    rows = block_rows(b, row, job["rows"], BLOCK)
    tokens = [b.add(token, number(t)) for t in range(tile)]
    bytes_, groups = b.lshr(columns, number(2)), b.sdiv(columns, number(group))
    codes = [at(b, job["codes"], b.mul(one, bytes_)) for one in rows]
    scales = [at(b, job["scales"], b.mul(b.mul(one, groups), number(2))) for one in rows]
    activations = [at(b, job["activations"], b.mul(one, columns)) for one in tokens]
    sums = [at(b, job["sums"], b.mul(one, bytes_)) for one in tokens]
    steps = [at(b, job["steps"], b.mul(one, b.lshr(columns, number(4)))) for one in tokens]

    operands = (codes, scales, activations, sums, steps)
    ahead = b.mul(bytes_, number(BLOCK))
    whole = b.and_(columns, number(-wide.columns))
    totals = _emit_strip(b, wide, group, operands, span=(number(0), whole), ahead=ahead)
    if wide.width > 16:
        narrow = Strip(16, portable_dot, wide.halves)
        rest = _emit_strip(b, narrow, group, operands, span=(whole, columns), ahead=ahead)
        totals = [b.fadd(one, other) for one, other in zip(totals, rest, strict=True)]
    for t, one in enumerate(tokens):
        for r, written in enumerate(rows):
            offset = b.mul(b.add(b.mul(one, job["rows"]), written), number(4))
            target = b.bitcast(at(b, job["out"], offset), F32.as_pointer())
            b.store(totals[r * tile + t], target, align=4)


def _emit_strip(
    b: Any,
    strip: Strip,
    group: int,
    operands: tuple[list[Any], ...],
    *,
    span: tuple[Any, Any],
    ahead: Any,
) -> list[Any]:
    """The sums [R * T] of the columns from one on to before another. The codes that lie ``ahead``
    bytes behind are asked of the memory meanwhile."""
    codes, scales, activations, sums, steps = operands
    tile = len(activations)
    bytes_ = ir.VectorType(I8, strip.width)
    words, floats = ir.VectorType(I32, strip.lanes), ir.VectorType(F32, strip.lanes)
    zero = ir.Constant(floats, [0.0] * strip.lanes)
    with loop(b, *span, strip.columns, [zero] * (len(codes) * tile)) as turn:
        column = turn.index
        given = [
            [
                load(b, at(b, one, b.add(column, number(strip.width * shift))), bytes_)
                for shift in range(4)
            ]
            for one in activations
        ]
        offset = b.lshr(column, number(2))
        starts = [load(b, at(b, one, offset), words) for one in sums]
        stepped = [_load_steps(b, one, column, strip) for one in steps]
        for r, (row, scaled) in enumerate(zip(codes, scales, strict=True)):
            place = at(b, row, offset)
            prefetch(b, at(b, place, ahead))
            parts = _unpack(b, load(b, place, bytes_), strip.width)
            scale = _load_scales(b, scaled, column, group, strip)
            for t in range(tile):
                whole = strip.dot(b, parts, given[t], starts[t])
                value = b.fmul(b.sitofp(whole, floats), stepped[t])
                total = turn.values[r * tile + t]
                name = f"llvm.fma.v{strip.lanes}f32"
                turn.handed.append(call(b, name, floats, [value, scale, total]))
    return [add_up(b, total, strip.lanes) for total in turn.values]


def _unpack(b: Any, packed: Any, width: int) -> list[Any]:
    """The four codes of each byte, as vectors [W] of bytes."""
    halves = ir.VectorType(I16, width // 2)
    mask = ir.Constant(packed.type, [3] * width)
    shifted = [packed]
    for shift in (2, 4, 6):
        moved = b.lshr(b.bitcast(packed, halves), ir.Constant(halves, [shift] * (width // 2)))
        shifted.append(b.bitcast(moved, packed.type))
    return [b.and_(one, mask) for one in shifted]


def _load_steps(b: Any, steps: Any, column: Any, strip: Strip) -> Any:
    """The step of each place of the vector, float32."""
    count = strip.columns // STEP
    kind: Any = F32 if count == 1 else ir.VectorType(F32, count)
    return spread(b, load(b, at(b, steps, b.lshr(column, number(4))), kind), strip.lanes)


def _load_scales(b: Any, scales: Any, column: Any, group: int, strip: Strip) -> Any:
    """The scale of each place of the vector, float32."""
    count = max(1, strip.columns // group)
    offset = b.mul(b.lshr(column, number(group.bit_length() - 1)), number(2))
    place = at(b, scales, offset)
    stored, to = (kind if count == 1 else ir.VectorType(kind, count) for kind in (F16, F32))
    if strip.halves:
        return spread(b, b.fpext(load(b, place, stored), to), strip.lanes)
    bits = I16 if count == 1 else ir.VectorType(I16, count)
    return spread(b, widen(b, load(b, place, bits)), strip.lanes)


def widen(b: Any, bits: Any) -> Any:
    """float32 of finite float16, given as ``bits``, a lone i16 or a vector of them. Where no
    instruction does it, the compiler's own way is a call of a function that is not there."""

    def alike(kind: Any, value: Any) -> Any:
        if isinstance(bits.type, ir.VectorType):
            return ir.Constant(ir.VectorType(kind, bits.type.count), [value] * bits.type.count)
        return ir.Constant(kind, value)

    word = b.zext(bits, alike(I32, 0).type)
    sign = b.shl(b.and_(word, alike(I32, 0x8000)), alike(I32, 16))
    magnitude = b.shl(b.and_(word, alike(I32, 0x7FFF)), alike(I32, 13))
    # The exponent counts from 15 there and from 127 here.
    single = alike(F32, 0.0).type
    scaled = b.fmul(b.bitcast(magnitude, single), alike(F32, 2.0 ** (127 - 15)))
    return b.bitcast(b.or_(b.bitcast(scaled, word.type), sign), single)
