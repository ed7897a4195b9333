"""The kernel of low-rank adapters as LLVM's intermediate representation.

Shapes: T tokens, K inputs, R rank, N outputs, L floats in a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from liveweights.ternary.emission import (
    F16,
    F32,
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
from liveweights.ternary.job import DOWN, LOW_RANK_JOB, UP

BLOCK = 4
"""Rows of ``down`` that are computed together."""
TILE = 2
"""Tokens that are computed together, while there are so many."""
CHUNK = 64
"""Outputs that are computed together."""
SHARE = 8 * CHUNK
"""Outputs that a thread takes at once."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How matrices are read: ``lanes`` values at a time, of 16 bits or of 32."""

    lanes: int
    half: bool

    def weights(self, b: Any, matrix: Any, place: Any) -> Any:
        """The values from a place on, as float32."""
        stored = _vector(F16 if self.half else F32, self.lanes)
        found = load(b, self._find(b, matrix, place), stored)
        return b.fpext(found, _vector(F32, self.lanes)) if self.half else found

    def prefetch(self, b: Any, matrix: Any, place: Any) -> None:
        prefetch(b, self._find(b, matrix, place))

    def _find(self, b: Any, matrix: Any, place: Any) -> Any:
        return at(b, matrix, b.mul(place, number(2 if self.half else 4)))


def emit_low_rank(module: Any, lanes: int, half: bool) -> Any:
    """``low_rank(job)``: of its phases the first writes ``hidden`` [T, R] = scale * x @ down.T, the
    second adds hidden @ up to ``out`` [T, N]. ``down`` [R, K] and ``up`` [R, N] are float16 where
    ``half``, all else is float32. K is a multiple of L.

    Each sum is added up in the same order whatever else is computed.
    """
    function = declare(module, "low_rank", [POINTER])
    b = ir.IRBuilder(function.append_basic_block())
    pointer, reading = function.args[0], Reading(lanes, half)
    places = {name: at(b, pointer, number(8 * i)) for i, name in enumerate(LOW_RANK_JOB)}
    job = read_job(b, pointer, LOW_RANK_JOB, 5)
    job["scale"] = load(b, places["scale"], F32)
    with _phase(b, job, DOWN), shares(b, places["rank_taken"], number(BLOCK), job["rank"]) as rows:
        for tile, span in _tiles(b, job["tokens"]):
            with loop(b, *span, tile) as turn:
                tokens = [b.add(turn.index, number(t)) for t in range(tile)]
                _emit_down(b, job, reading, rows[0], tokens)
    with (
        _phase(b, job, UP),
        shares(b, places["outputs_taken"], number(SHARE), job["outputs"]) as (first, end),
    ):
        whole = b.add(first, b.and_(b.sub(end, first), number(-CHUNK)))
        for tile, span in _tiles(b, job["tokens"]):
            with loop(b, *span, tile) as turn:
                tokens = [b.add(turn.index, number(t)) for t in range(tile)]
                with loop(b, first, whole, CHUNK) as outputs:
                    _emit_up(b, job, reading, outputs.index, tokens)
                with loop(b, whole, end, 1) as outputs:
                    _emit_up(b, job, Reading(1, half), outputs.index, tokens)
    b.ret_void()
    return function


def _phase(b: Any, job: dict[str, Any], phase: int) -> Any:
    return b.if_then(b.icmp_signed("!=", b.and_(job["phases"], number(phase)), number(0)))


def _tiles(b: Any, tokens: Any) -> list[tuple[int, tuple[Any, Any]]]:
    """How many tokens are computed together, and from which one to which."""
    whole = b.and_(tokens, number(-TILE))
    return [(TILE, (number(0), whole)), (1, (whole, tokens))]


def _emit_down(
    b: Any, job: dict[str, Any], reading: Reading, row: Any, tokens: Sequence[Any]
) -> None:
    """``hidden`` of a block of rows from one on; rows beyond the last are the last once more."""
    lanes, inputs = reading.lanes, job["inputs"]
    floats, ahead = _vector(F32, lanes), b.mul(inputs, number(BLOCK))
    rows = block_rows(b, row, job["rank"], BLOCK)
    starts = [b.mul(one, inputs) for one in rows]
    given = [at(b, job["x"], b.mul(b.mul(one, inputs), number(4))) for one in tokens]
    zero = ir.Constant(floats, [0.0] * lanes)
    with loop(b, number(0), inputs, lanes, [zero] * (BLOCK * len(tokens))) as turn:
        offset = b.mul(turn.index, number(4))
        values = [load(b, at(b, one, offset), floats) for one in given]
        for r, start in enumerate(starts):
            place = b.add(start, turn.index)
            reading.prefetch(b, job["down"], b.add(place, ahead))
            weights = reading.weights(b, job["down"], place)
            for t, value in enumerate(values):
                total = turn.values[r * len(tokens) + t]
                turn.handed.append(_multiply_add(b, value, weights, total))
    for r, one in enumerate(rows):
        for t, token in enumerate(tokens):
            total = b.fmul(add_up(b, turn.values[r * len(tokens) + t], lanes), job["scale"])
            place = b.add(b.mul(token, job["rank"]), one)
            _store(b, total, at(b, job["hidden"], b.mul(place, number(4))))


def _emit_up(
    b: Any, job: dict[str, Any], reading: Reading, first: Any, tokens: Sequence[Any]
) -> None:
    """What ``hidden`` gives in a chunk of outputs, or in one of them."""
    lanes, outputs, rank = reading.lanes, job["outputs"], job["rank"]
    floats = _vector(F32, lanes)
    columns = [b.add(first, number(c)) for c in range(0, 1 if lanes == 1 else CHUNK, lanes)]
    targets = [
        at(b, job["out"], b.mul(b.add(b.mul(token, outputs), column), number(4)))
        for token in tokens
        for column in columns
    ]
    with loop(b, number(0), rank, 1, [load(b, one, floats) for one in targets]) as turn:
        places = [b.add(b.mul(token, rank), turn.index) for token in tokens]
        hidden = [load(b, at(b, job["hidden"], b.mul(one, number(4))), F32) for one in places]
        if lanes > 1:
            hidden = [spread(b, one, lanes) for one in hidden]
        start = b.mul(turn.index, outputs)
        weights = [reading.weights(b, job["up"], b.add(start, one)) for one in columns]
        for t, value in enumerate(hidden):
            for c, weight in enumerate(weights):
                total = turn.values[t * len(columns) + c]
                turn.handed.append(_multiply_add(b, value, weight, total))
    for total, target in zip(turn.values, targets, strict=True):
        _store(b, total, target)


def _vector(kind: Any, lanes: int) -> Any:
    return kind if lanes == 1 else ir.VectorType(kind, lanes)


def _multiply_add(b: Any, one: Any, other: Any, total: Any) -> Any:
    lanes = total.type.count if isinstance(total.type, ir.VectorType) else 1
    name = f"llvm.fma.{'f32' if lanes == 1 else f'v{lanes}f32'}"
    return call(b, name, total.type, [one, other, total])


def _store(b: Any, value: Any, target: Any) -> None:
    b.store(value, b.bitcast(target, value.type.as_pointer()), align=4)
