"""What kernels are written of: pieces of LLVM's intermediate representation.

No compiler is needed where they run: ``compilation`` makes machine code of them.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from llvmlite import ir

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
    yield first, smaller(b, end, stop)
    b.branch(again)
    b.position_at_end(done)


def smaller(b: Any, one: Any, other: Any) -> Any:
    return b.select(b.icmp_signed("<", one, other), one, other)


def block_rows(b: Any, first: Any, count: Any, size: int) -> list[Any]:
    """So many rows from one on, of which ``count`` are there; those beyond are the last once
    more."""
    last = b.sub(count, number(1))
    return [smaller(b, b.add(first, number(row)), last) for row in range(size)]


def at(b: Any, pointer: Any, offset: Any) -> Any:
    """The address so many bytes on."""
    return b.gep(pointer, [offset], source_etype=I8)


def declare(module: Any, name: str, kinds: Sequence[Any]) -> Any:
    """A function without a result, of arguments of these kinds."""
    return ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)


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


def read_job(b: Any, pointer: Any, fields: Sequence[str], addresses: int) -> dict[str, Any]:
    """The 64-bit fields of a job in memory, of which the first so many are addresses."""
    values = {
        name: load(b, at(b, pointer, number(8 * place)), I64) for place, name in enumerate(fields)
    }
    for name in fields[:addresses]:
        values[name] = b.inttoptr(values[name], POINTER)
    return values


def write_job(b: Any, pointer: Any, fields: Sequence[str], values: Mapping[str, Any]) -> None:
    """Put values of 64 bits in the places of a job's fields; what has none stays as it is."""
    for place, name in enumerate(fields):
        if name in values:
            target = b.bitcast(at(b, pointer, number(8 * place)), I64.as_pointer())
            b.store(values[name], target, align=8)


def add_up(b: Any, vector: Any, lanes: int) -> Any:
    """The sum of a vector's places, halves onto halves: the same order everywhere."""
    while lanes > 1:
        lanes //= 2
        low = ir.Constant(ir.VectorType(I32, lanes), list(range(lanes)))
        high = ir.Constant(ir.VectorType(I32, lanes), list(range(lanes, 2 * lanes)))
        halves = [b.shuffle_vector(vector, vector, mask) for mask in (low, high)]
        vector = b.fadd(*halves)
    return b.extract_element(vector, ir.Constant(I32, 0))
