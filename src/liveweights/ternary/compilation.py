"""Machine code of the kernels for this processor, made in memory when it is first needed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from liveweights.ternary.instructions import Instructions, choose


class NoCompiler(RuntimeError):
    """The package that makes machine code is not installed."""

    def __init__(self) -> None:
        super().__init__("ternary weights need a package: pip install 'liveweights[ternary]'")


@cache
def host() -> tuple[str, Mapping[str, bool]]:
    """LLVM's name of this processor, and its features. Raises NoCompiler."""
    try:
        from llvmlite import binding as llvm
    except ImportError as error:
        raise NoCompiler from error
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features: Any = llvm.get_host_cpu_features()
    return llvm.get_host_cpu_name(), dict(features)


@cache
def chosen() -> Instructions:
    """The fastest instructions of this processor. Raises NoCompiler."""
    return choose(host()[1])


@cache
def reads_halves() -> bool:
    """Whether this processor makes float32 of float16 by itself. Raises NoCompiler."""
    return any(host()[1].get(name, False) for name in ("f16c", "neon"))


class Code:
    """A compiled function: its address for others to call, and itself."""

    def __init__(self, source: str, name: str, result: Any, *arguments: Any) -> None:
        from llvmlite import binding as llvm

        cpu, features = host()
        names = ",".join(f"{'+' if has else '-'}{name}" for name, has in features.items())
        target: Any = llvm.Target.from_default_triple()
        machine = target.create_target_machine(cpu=cpu, features=names, opt=3, jit=True)
        module: Any = llvm.parse_assembly(source)
        module.verify()
        self._engine: Any = llvm.create_mcjit_compiler(module, machine)
        """Holds the memory that the code is in."""
        self._engine.finalize_object()
        self.address: int = self._engine.get_function_address(name)
        self.call: Callable[..., Any] = ctypes.CFUNCTYPE(result, *arguments)(self.address)


@cache
def rounding(width: int) -> Code:
    """``emit_rounding``'s function. Raises NoCompiler."""
    host()
    from liveweights.ternary.emission import emit_rounding

    long, pointer = ctypes.c_int64, ctypes.c_void_p
    kinds = (pointer, long, long, pointer, pointer, pointer)
    return Code(emit_rounding(width), "round", None, *kinds)


@cache
def product(instructions: Instructions, group: int, tile: int) -> Code:
    """``emit_product``'s function. Raises NoCompiler."""
    host()
    from liveweights.ternary.emission import emit_product

    source = emit_product(instructions, group, tile, halves=reads_halves())
    return Code(source, "product", None, ctypes.c_void_p)


@cache
def low_rank(lanes: int, half: bool) -> Code:
    """``emit_low_rank``'s function. Raises NoCompiler."""
    host()
    from liveweights.ternary.low_rank_emission import emit_low_rank

    return Code(emit_low_rank(lanes, half), "low_rank", None, ctypes.c_void_p)
