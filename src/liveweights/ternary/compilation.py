"""Machine code of the kernels for this processor, made in memory when it is first needed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from liveweights.machine import arm_features
from liveweights.ternary.instructions import Instructions, choose
from liveweights.ternary.job import ADAPTER_ARGUMENTS, ARGUMENTS


class NoCompiler(ValueError):
    """The package that makes machine code is not installed."""

    def __init__(self) -> None:
        super().__init__("ternary weights need a package: pip install 'liveweights[ternary]'")


@cache
def host() -> tuple[str, Mapping[str, bool]]:
    """LLVM's name of this processor, and its features, where it finds none by itself those that the
    kernel says. Raises NoCompiler."""
    try:
        from llvmlite import binding as llvm
    except ImportError as error:
        raise NoCompiler from error
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features: Any = llvm.get_host_cpu_features()
    return llvm.get_host_cpu_name(), arm_features() | dict(features)


@cache
def chosen() -> Instructions:
    """The fastest instructions of this processor. Raises NoCompiler."""
    return choose(host()[1])


@cache
def reads_halves() -> bool:
    """Whether this processor makes float32 of float16 by itself. Raises NoCompiler."""
    return any(host()[1].get(name, False) for name in ("f16c", "neon"))


class Code:
    """A compiled function without a result, which is called without Python's lock."""

    def __init__(self, source: str, name: str, *arguments: Any) -> None:
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
        address: int = self._engine.get_function_address(name)
        self.call: Callable[..., None] = ctypes.CFUNCTYPE(None, *arguments)(address)


@cache
def multiplication(instructions: Instructions, group: int, tile: int, adapter: bool | None) -> Code:
    """``emit_multiplication``'s function; ``adapter`` is whether one's matrices are float16, None
    without one. Raises NoCompiler."""
    host()
    from liveweights.ternary.multiplication_emission import Kind, emit_multiplication

    kind = Kind(group, tile, reads_halves(), adapter)
    names = ARGUMENTS + (() if adapter is None else ADAPTER_ARGUMENTS)
    kinds = [ctypes.c_float if name == "scale" else ctypes.c_int64 for name in names]
    return Code(emit_multiplication(instructions, kind), "multiply", *kinds)
