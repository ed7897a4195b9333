"""Kernels for processors that are not here, as far as a compiler goes."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from liveweights.ternary.instructions import KNOWN

llvm = pytest.importorskip("llvmlite.binding", reason="needs liveweights[ternary]")

from liveweights.ternary.multiplication_emission import Kind, emit_multiplication  # noqa: E402


def assemble(source: str, triple: str, cpu: str, features: str) -> str:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip(f"this LLVM knows no {triple}")
    module = llvm.parse_assembly(source)
    module.triple = triple
    machine = target.create_target_machine(cpu=cpu, features=features, opt=3)
    return machine.emit_assembly(module)


@pytest.mark.parametrize(
    ("name", "triple", "cpu", "features", "wanted"),
    [
        ("neon", "aarch64-unknown-linux-gnu", "neoverse-n1", "+neon,+dotprod", "sdot"),
        ("avx2", "x86_64-unknown-linux-gnu", "haswell", "", "vpmaddubsw"),
        ("avx512", "x86_64-unknown-linux-gnu", "skylake-avx512", "", "vpmaddubsw"),
        ("avx512-vnni", "x86_64-unknown-linux-gnu", "icelake-server", "", "vpdpbusd"),
    ],
)
def test_a_kernel_is_made_of_its_instructions(
    name: str, triple: str, cpu: str, features: str, wanted: str
) -> None:
    [instructions] = [one for one in KNOWN if one.name == name]
    source = emit_multiplication(instructions, Kind(128, 4, halves=True, adapter=None))
    assembly = assemble(source, triple, cpu, features)
    # Four rows by four tokens, of four shifts each.
    assert assembly.count(wanted) >= 4 * 4 * 4


@pytest.mark.parametrize(
    ("name", "triple", "cpu", "features", "wanted"),
    [
        ("neon", "aarch64-unknown-linux-gnu", "neoverse-n1", "+neon,+dotprod", "fcvtl"),
        ("avx2", "x86_64-unknown-linux-gnu", "haswell", "", "vcvtph2ps"),
        ("avx512", "x86_64-unknown-linux-gnu", "skylake-avx512", "", "vcvtph2ps"),
    ],
)
def test_adapters_in_16_bits_are_made_wide_by_instructions(
    name: str, triple: str, cpu: str, features: str, wanted: str
) -> None:
    [instructions] = [one for one in KNOWN if one.name == name]
    source = emit_multiplication(instructions, Kind(128, 1, halves=True, adapter=True))
    assembly = assemble(source, triple, cpu, features)
    assert wanted in assembly
    assert "__extendhfsf2" not in assembly
    assert "__gnu_h2f_ieee" not in assembly


OLD = """
import sys
from liveweights.ternary import compilation

name, features = compilation.host()
has = {*sys.argv[1:], "sse", "sse2", "cx8", "cmov", "fxsr", "mmx", "x87", "64bit"}
old = "x86-64", {key: value and key in has for key, value in features.items()}
compilation.host = lambda: old

import numpy as np
import torch
from liveweights.ternary.product import multiply, multiply_exactly
from liveweights.weights.ternary.matrix import TernaryMatrix

torch.set_num_threads(1)
assert compilation.chosen().name == "portable"
rng = np.random.default_rng(0)
for columns, groups in ((320, 5), (384, 3), (256, 1)):
    # Of every magnitude that float16 has, below its normal numbers, too.
    bits = rng.integers(1, 0x7BFF, (7, groups)) | rng.choice([0, 0x8000], (7, groups))
    scales = bits.astype(np.uint16).view(np.float16)
    matrix = TernaryMatrix.pack(rng.integers(-1, 2, (7, columns)).astype(np.int8), scales)
    x = torch.randn(3, columns)
    codes, stored = torch.from_numpy(matrix.codes), torch.from_numpy(matrix.scales)
    got = multiply(x, codes, stored).numpy()
    wanted = multiply_exactly(x.numpy(), matrix)
    assert np.allclose(got, wanted, rtol=1e-4, atol=1e-4 * abs(wanted).max()), columns
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="needs an x86")
@pytest.mark.parametrize("has", [(), ("sse3", "ssse3", "sse4.1", "sse4.2", "popcnt"), ("avx",)])
def test_it_runs_where_nothing_makes_16_bits_wide(has: tuple[str, ...]) -> None:
    """As the processor of a virtual machine is told to be."""
    child = subprocess.run(
        [sys.executable, "-c", OLD, *has], capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, (child.returncode, child.stderr)
