"""Proofs against the tree of RFC 9162, and against trees that somebody changed."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.bom.merkle import Inclusion, Proof, hash_reaction, is_in_tree, prove, root_of

# The leaves and roots of the reference implementation's tests (certificate-transparency-go,
# merkle/testonly): the roots of the first one, two, ... of them.
DATA = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "60616263646566676869"
        "6a6b6c6d6e6f"]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [hashlib.sha256(b"\x00" + bytes.fromhex(one)).digest() for one in DATA]

trees = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=70, unique=True)


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert root_of(LEAVES[:size]).hex() == ROOTS[size - 1]


def test_the_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert root_of([]) == hashlib.sha256(b"").digest()
    with pytest.raises(IndexError, match="0 leaves"):
        prove([], 0)


@given(trees, st.data())
def test_every_leaf_can_be_proved_and_no_other(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof, root = prove(leaves, index), root_of(leaves)
    assert is_in_tree(leaves[index], proof, root)
    assert len(proof.path) <= len(leaves).bit_length()
    other = data.draw(st.binary(min_size=32, max_size=32).filter(lambda one: one != leaves[index]))
    assert not is_in_tree(other, proof, root)
    assert not is_in_tree(leaves[index], proof, other)


@given(trees, st.data())
def test_a_proof_that_was_changed_does_not_hold(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof, root = prove(leaves, index), root_of(leaves)
    place = data.draw(st.integers(0, len(proof.path)))
    digest = data.draw(st.binary(min_size=32, max_size=32)).hex()
    path = (*proof.path[:place], digest, *proof.path[place:])
    assert not is_in_tree(leaves[index], msgspec.structs.replace(proof, path=path), root)
    if proof.path:
        changed = (*proof.path[:-1], digest)
        if changed != proof.path:
            altered = msgspec.structs.replace(proof, path=changed)
            assert not is_in_tree(leaves[index], altered, root)
        short = msgspec.structs.replace(proof, path=proof.path[:-1])
        assert not is_in_tree(leaves[index], short, root)
    outside = msgspec.structs.replace(proof, index=len(leaves))
    assert not is_in_tree(leaves[index], outside, root)


@given(st.lists(st.text(), min_size=3, max_size=3), st.lists(st.text(), min_size=3, max_size=3))
def test_names_do_not_run_into_one_another(some: list[str], others: list[str]) -> None:
    assert (hash_reaction(*some) == hash_reaction(*others)) == (some == others)


def test_an_inclusion_holds_by_itself_and_survives_json() -> None:
    leaves = sorted(hash_reaction("acme", f"g{n}", f"f{n}") for n in range(5))
    leaf = hash_reaction("acme", "g3", "f3")
    inclusion = Inclusion(
        tenant="acme",
        generation="g3",
        feedback="f3",
        cycle=1,
        root=root_of(leaves).hex(),
        proof=prove(leaves, leaves.index(leaf)),
    )
    again = msgspec.json.decode(msgspec.json.encode(inclusion), type=Inclusion)
    assert again == inclusion
    assert again.holds()
    assert not msgspec.structs.replace(inclusion, feedback="f4").holds()
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(b'{"index": 0, "size": 1, "path": [], "left": true}', type=Proof)
