"""The kernels as LLVM's intermediate representation.

No compiler is needed where they run: ``compilation`` makes machine code of them. Shapes: N rows of
weights, K columns, G columns per scale, T tokens in a tile, R rows in a block, W bytes in a vector.

A token's activations are K bytes in the order in which a kernel reads them: of each 4W columns,
for each of four shifts, W bytes, of which 16 neighbours each belong to 64 columns (``matrix``).
What does not fill a vector comes after that, 64 columns each in their own order. Beside them are
K/16 sums: minus the sum of the 4 by 4 activations that a place of the vector gets, so that codes,
which are trits plus one, give what the trits would; and K/64 steps, by which 64 columns' bytes are
multiplied.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from llvmlite import ir

from liveweights.ternary.instructions import Instructions, portable_dot
from liveweights.ternary.job import BLOCK, JOB, STEP

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
F16, F32 = ir.HalfType(), ir.FloatType()
POINTER = ir.PointerType(I8)


def number(value: int) -> Any:
    return ir.Constant(I64, value)


@dataclass(slots=True)
class Round:
    """Of a loop: where it is, the values it began with, and those that it hands on."""

    index: Any
    values: list[Any]
    handed: list[Any] = field(default_factory=list[Any])


@contextmanager
def loop(b: Any, start: Any, stop: Any, step: int, carried: Sequence[Any] = ()) -> Generator[Round]:
    """``for index in range(start, stop, step)``; after it, ``values`` are the last ones."""
    before = b.block
    head, body, after = (b.append_basic_block() for _ in range(3))
    b.branch(head)
    b.position_at_end(head)
    index = b.phi(I64)
    index.add_incoming(start, before)
    values = [b.phi(value.type) for value in carried]
    for phi, value in zip(values, carried, strict=True):
        phi.add_incoming(value, before)
    b.cbranch(b.icmp_signed("<", index, stop), body, after)
    b.position_at_end(body)
    turn = Round(index, values)
    yield turn
    last = b.block
    index.add_incoming(b.add(index, number(step)), last)
    for phi, value in zip(values, turn.handed, strict=True):
        phi.add_incoming(value, last)
    b.branch(head)
    b.position_at_end(after)


@contextmanager
def shares(b: Any, taken: Any, share: Any, stop: Any) -> Generator[tuple[Any, Any]]:
    """Until all of ``range(stop)`` is done: take the next ``share`` of it, from one number on to
    before another. Threads that run this take from one counter, at the address ``taken``."""
    again, work, done = (b.append_basic_block() for _ in range(3))
    b.branch(again)
    b.position_at_end(again)
    first = b.atomic_rmw("add", b.bitcast(taken, I64.as_pointer()), share, "monotonic")
    b.cbranch(b.icmp_signed("<", first, stop), work, done)
    b.position_at_end(work)
    end = b.add(first, share)
    yield first, b.select(b.icmp_signed("<", end, stop), end, stop)
    b.branch(again)
    b.position_at_end(done)


def at(b: Any, pointer: Any, offset: Any) -> Any:
    """The address so many bytes on."""
    return b.gep(pointer, [offset], source_etype=I8)


def load(b: Any, pointer: Any, kind: Any) -> Any:
    return b.load(pointer, typ=kind, align=1)


def call(b: Any, name: str, result: Any, arguments: Sequence[Any]) -> Any:
    """An intrinsic, declared where it is not yet."""
    function = b.module.globals.get(name)
    if function is None:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        function = ir.Function(b.module, kind, name)
    return b.call(function, arguments)


def prefetch(b: Any, pointer: Any) -> None:
    """Begin to read what will be needed soon; an address that is nobody's does no harm."""
    read, near, data = (ir.Constant(I32, value) for value in (0, 3, 1))
    call(b, "llvm.prefetch.p0", ir.VoidType(), [pointer, read, near, data])


def spread(b: Any, vector: Any, count: int) -> Any:
    """Each place of a vector, or a lone value, as often as makes ``count`` places."""
    if not isinstance(vector.type, ir.VectorType):
        single = ir.VectorType(vector.type, 1)
        vector = b.insert_element(ir.Constant(single, ir.Undefined), vector, ir.Constant(I32, 0))
    have = vector.type.count
    picked = [place * have // count for place in range(count)]
    mask = ir.Constant(ir.VectorType(I32, count), picked)
    return b.shuffle_vector(vector, vector, mask)


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


def emit_product(instructions: Instructions, group: int, tile: int, *, halves: bool) -> str:
    """``product(job)``: takes blocks of rows for as long as there are any, and writes what each
    gives for every token, ``tile`` tokens at a time. ``halves`` is whether the processor makes
    float32 of float16 by itself.

    ``out`` [T, N] float32 = sum over 64 columns each of scale * step * (trits . activations).
    """
    module = ir.Module("product")
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [POINTER]), "product")
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
    return str(module)


def read_job(b: Any, pointer: Any, fields: Sequence[str], addresses: int) -> dict[str, Any]:
    """The 64-bit fields of a job in memory, of which the first so many are addresses."""
    values = {
        name: load(b, at(b, pointer, number(8 * place)), I64) for place, name in enumerate(fields)
    }
    for name in fields[:addresses]:
        values[name] = b.inttoptr(values[name], POINTER)
    return values


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
    last = b.sub(job["rows"], number(1))
    rows = [b.add(row, number(r)) for r in range(BLOCK)]
    rows = [b.select(b.icmp_signed("<", one, last), one, last) for one in rows]
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
            offset = b.mul(b.add(b.mul(one, job["width"]), written), number(4))
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


def add_up(b: Any, vector: Any, lanes: int) -> Any:
    """The sum of a vector's places, halves onto halves: the same order everywhere."""
    while lanes > 1:
        lanes //= 2
        low = ir.Constant(ir.VectorType(I32, lanes), list(range(lanes)))
        high = ir.Constant(ir.VectorType(I32, lanes), list(range(lanes, 2 * lanes)))
        halves = [b.shuffle_vector(vector, vector, mask) for mask in (low, high)]
        vector = b.fadd(*halves)
    return b.extract_element(vector, ir.Constant(I32, 0))


def emit_rounding(width: int) -> str:
    """``round(x, tokens, columns, activations, sums, steps)``: ``x`` [T, K] float32 as bytes and a
    step per 64 columns, x ~ byte * step with step = max |x| / 127, in the order for ``width``."""
    module = ir.Module("rounding")
    kinds = [POINTER, I64, I64, POINTER, POINTER, POINTER]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), "round")
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
    return str(module)


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
