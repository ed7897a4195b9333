"""Kernels for processors that are not here, as far as a compiler goes."""

from __future__ import annotations

import pytest

from liveweights.ternary.instructions import KNOWN

llvm = pytest.importorskip("llvmlite.binding", reason="needs liveweights[ternary]")

from liveweights.ternary.emission import emit_product  # noqa: E402
from liveweights.ternary.low_rank_emission import emit_low_rank  # noqa: E402


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
    assembly = assemble(emit_product(instructions, 128, 4), triple, cpu, features)
    # Four rows by four tokens, of four shifts each.
    assert assembly.count(wanted) >= 4 * 4 * 4


@pytest.mark.parametrize(
    ("lanes", "triple", "cpu", "features", "wanted"),
    [
        (4, "aarch64-unknown-linux-gnu", "neoverse-n1", "+neon", "fcvtl"),
        (8, "x86_64-unknown-linux-gnu", "haswell", "", "vcvtph2ps"),
        (16, "x86_64-unknown-linux-gnu", "skylake-avx512", "", "vcvtph2ps"),
    ],
)
def test_adapters_in_16_bits_are_made_wide_by_instructions(
    lanes: int, triple: str, cpu: str, features: str, wanted: str
) -> None:
    assembly = assemble(emit_low_rank(lanes, half=True), triple, cpu, features)
    assert wanted in assembly
    assert "__extendhfsf2" not in assembly
    assert "__gnu_h2f_ieee" not in assembly
