"""A Merkle tree over the reactions that a cycle read: a root to publish, proofs for single ones.

The tree of RFC 9162 (Certificate Transparency, 2.1), with SHA-256. A leaf is the hash of what names
a reaction: its tenant, the answer's id and its own. An answer's id holds 74 random bits, so nobody
who does not know it can tell from a leaf, or from a proof, which reaction it stands for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from liveweights import bounds

Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
"""SHA-256 in hex."""
_LEAF, _NODE = b"\x00", b"\x01"


class Proof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That a leaf is in a tree: leaf ``index`` of ``size``, and the roots of the subtrees beside
    it, from the leaf up."""

    index: Annotated[int, Meta(ge=0, le=bounds.COUNT)]
    size: Annotated[int, Meta(ge=1, le=bounds.COUNT)]
    path: Annotated[tuple[Digest, ...], Meta(max_length=64)]


class Inclusion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A proof that cycle ``cycle`` read a reaction, with all that it takes to check it: what names
    the reaction, and the root."""

    tenant: str
    generation: str
    feedback: str
    cycle: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    root: Digest
    proof: Proof

    def holds(self) -> bool:
        """Whether the proof leads from the reaction to the root; that the root is the one that was
        published is for whoever has it to see."""
        leaf = hash_reaction(self.tenant, self.generation, self.feedback)
        return is_in_tree(leaf, self.proof, bytes.fromhex(self.root))


def hash_reaction(tenant: str, generation: str, feedback: str) -> bytes:
    """The leaf of a reaction, 32 bytes. Each name is hashed first, so that none runs into the
    next."""
    names = (hashlib.sha256(one.encode()).digest() for one in (tenant, generation, feedback))
    return hashlib.sha256(_LEAF + b"".join(names)).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The hash of a tree, 32 bytes; of none it is the hash of nothing (RFC 9162, 2.1.1)."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    middle = _split(len(leaves))
    return _join(root_of(leaves[:middle]), root_of(leaves[middle:]))


def prove(leaves: Sequence[bytes], index: int) -> Proof:
    """The proof for one of the leaves (RFC 9162, 2.1.3.1). Raises IndexError."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"a tree of {len(leaves)} leaves has no leaf {index}")
    path = tuple(digest.hex() for digest in _path(leaves, index))
    return Proof(index=index, size=len(leaves), path=path)


def is_in_tree(leaf: bytes, proof: Proof, root: bytes) -> bool:
    """Whether the proof leads from the leaf to the root (RFC 9162, 2.1.3.2)."""
    if proof.index >= proof.size:
        return False
    number, last, digest = proof.index, proof.size - 1, leaf
    for one in proof.path:
        if last == 0:
            return False
        beside = bytes.fromhex(one)
        if number % 2 or number == last:
            digest = _join(beside, digest)
            while number % 2 == 0 and number:  # no subtree on the right, so none was joined
                number, last = number // 2, last // 2
        else:
            digest = _join(digest, beside)
        number, last = number // 2, last // 2
    return last == 0 and digest == root


def _path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    if len(leaves) == 1:
        return []
    middle = _split(len(leaves))
    left, right = leaves[:middle], leaves[middle:]
    if index < middle:
        return [*_path(left, index), root_of(right)]
    return [*_path(right, index - middle), root_of(left)]


def _split(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << ((count - 1).bit_length() - 1)


def _join(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()
