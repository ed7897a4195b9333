"""What processors have for products of bytes, and which of it this one has.

A kernel's inner step multiplies codes (trits plus one, unsigned) with activations (signed bytes)
and adds neighbours up in 32 bits. Each ``Instructions`` is one way to say that in LLVM's terms.
W bytes are one vector: W columns of each of four shifts, so 4W columns of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Dot = Callable[[Any, Sequence[Any], Sequence[Any], Any], Any]
"""``dot(builder, codes, activations, start)``: ``start`` [W/4] i32 plus, in each of its places, the
products of four neighbours of each of the four pairs of vectors [W] i8."""


@dataclass(frozen=True, slots=True)
class Instructions:
    """``needs`` are LLVM's names of the features without which it does not run."""

    name: str
    width: int
    needs: frozenset[str]
    dot: Dot


def choose(features: Mapping[str, bool]) -> Instructions:
    """The fastest that a processor with these of LLVM's features has."""
    return next(one for one in KNOWN if all(features.get(name, False) for name in one.needs))


def _intrinsic(builder: Any, name: str, result: Any, arguments: Sequence[Any]) -> Any:
    from llvmlite import ir

    module = builder.module
    function = module.globals.get(name)
    if function is None:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        function = ir.Function(module, kind, name)
    return builder.call(function, arguments)


def _vector(bits: int, count: int) -> Any:
    from llvmlite import ir

    return ir.VectorType(ir.IntType(bits), count)


def _accumulate(width: int, name: str, *, bytewise: bool) -> Dot:
    """Instructions that multiply four bytes each and add them to 32 bits."""

    def dot(builder: Any, codes: Sequence[Any], activations: Sequence[Any], start: Any) -> Any:
        words = _vector(32, width // 4)
        total = start
        for code, activation in zip(codes, activations, strict=True):
            pair = [code, activation]
            if not bytewise:  # the intrinsic takes its bytes as words
                pair = [builder.bitcast(operand, words) for operand in pair]
            total = _intrinsic(builder, name, words, [total, *pair])
        return total

    return dot


def _multiply_add(width: int, by_pairs: str, by_words: str) -> Dot:
    """Instructions that multiply two bytes each into 16 bits, then add pairs of these.

    Four sums of two products of at most 2 * 127 stay far from 16 bits.
    """

    def dot(builder: Any, codes: Sequence[Any], activations: Sequence[Any], start: Any) -> Any:
        from llvmlite import ir

        halves, words = _vector(16, width // 2), _vector(32, width // 4)
        sums = [
            _intrinsic(builder, by_pairs, halves, [code, activation])
            for code, activation in zip(codes, activations, strict=True)
        ]
        total = builder.add(builder.add(sums[0], sums[1]), builder.add(sums[2], sums[3]))
        ones = ir.Constant(halves, [1] * (width // 2))
        return builder.add(start, _intrinsic(builder, by_words, words, [total, ones]))

    return dot


def portable_dot(builder: Any, codes: Sequence[Any], activations: Sequence[Any], start: Any) -> Any:
    """Without any instructions of a kind of processor; W is 16."""
    from llvmlite import ir

    halves, words = _vector(16, 16), _vector(32, 16)
    total: Any = ir.Constant(halves, [0] * 16)
    for code, activation in zip(codes, activations, strict=True):
        product = builder.mul(builder.zext(code, halves), builder.sext(activation, halves))
        total = builder.add(total, product)
    wide = builder.sext(total, words)
    for place in range(4):
        picked = ir.Constant(_vector(32, 4), [place, place + 4, place + 8, place + 12])
        start = builder.add(start, builder.shuffle_vector(wide, wide, picked))
    return start


KNOWN = (
    Instructions(
        "avx512-vnni",
        64,
        frozenset({"avx512bw", "avx512vnni", "f16c"}),
        _accumulate(64, "llvm.x86.avx512.vpdpbusd.512", bytewise=False),
    ),
    Instructions(
        "avx512",
        64,
        frozenset({"avx512bw", "f16c"}),
        _multiply_add(64, "llvm.x86.avx512.pmaddubs.w.512", "llvm.x86.avx512.pmaddw.d.512"),
    ),
    Instructions(
        "avx2",
        32,
        frozenset({"avx2", "fma", "f16c"}),
        _multiply_add(32, "llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd"),
    ),
    Instructions(
        "neon",
        16,
        frozenset({"neon", "dotprod"}),
        _accumulate(16, "llvm.aarch64.neon.sdot.v4i32.v16i8", bytewise=True),
    ),
    Instructions("portable", 16, frozenset(), portable_dot),
)
"""From the fastest to that which runs everywhere."""
