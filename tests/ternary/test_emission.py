"""Kernels for processors that are not here, as far as a compiler goes."""

from __future__ import annotations

import pytest

from liveweights.ternary.instructions import KNOWN

llvm = pytest.importorskip("llvmlite.binding", reason="needs liveweights[ternary]")

from liveweights.ternary.emission import emit_product  # noqa: E402


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
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip(f"this LLVM knows no {triple}")
    [instructions] = [one for one in KNOWN if one.name == name]
    module = llvm.parse_assembly(emit_product(instructions, 128, 4))
    module.triple = triple
    machine = target.create_target_machine(cpu=cpu, features=features, opt=3)
    # Four rows by four tokens, of four shifts each.
    assert machine.emit_assembly(module).count(wanted) >= 4 * 4 * 4
