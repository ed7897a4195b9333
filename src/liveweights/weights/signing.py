"""Checkpoints signed with a key of one's own, in the OpenSSF model signing format."""

# The extra that this needs may not be installed where types are checked.
# pyright: reportMissingImports=false
from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import Tampered, is_named_by_content, verify

if TYPE_CHECKING:
    from model_signing import hashing

SIGNATURE = "model.sig"


class SigningUnavailable(RuntimeError):
    """A key is configured, but what signs with it is not installed."""


def make_keys(private: Path) -> Path:
    """Write a P-256 key pair in PEM: ``private`` (mode 600), and beside it ``.pub``.

    Returns the public one. Raises FileExistsError.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    public = private.with_name(f"{private.name}.pub")
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    descriptor = os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return public


def sign(folder: Path, private: Path) -> None:
    """Sign every file of ``folder`` into its ``model.sig``, which appears whole or not at all.

    Raises SigningUnavailable, and OSError or ValueError for a key that cannot be read.
    """
    signing = _library().signing
    partial = folder / f".{SIGNATURE}.partial"
    config = signing.Config().use_elliptic_key_signer(private_key=private)
    config.set_hashing_config(_hashing(folder)).sign(folder, partial)
    partial.replace(folder / SIGNATURE)


def check(checkpoint: Checkpoint, public: Path | None, hash_folder: Path | None = None) -> None:
    """Everything that is to be true of a checkpoint's files before they are loaded.

    Files are what the id says, and with a public key the signature is that key's and covers all
    of them. A base, whose files may be anybody's, must still have the content that it was named
    by, as far as sizes and times in ``hash_folder`` tell (see ``hash_files``); its signature is
    checked if it has one. Raises Tampered and SigningUnavailable.
    """
    if checkpoint.kind != "base":
        verify(checkpoint)
    elif not is_named_by_content(checkpoint, hash_folder):
        raise Tampered(
            f"{checkpoint.id}: files in {checkpoint.folder} have changed since it was registered;"
            f" `liveweights verify {checkpoint.id}` names them"
        )
    check_signature(checkpoint, public)


def check_signature(checkpoint: Checkpoint, public: Path | None) -> None:
    """With a public key: that the folder is signed with it; a base may be unsigned.

    Raises Tampered and SigningUnavailable.
    """
    signature = checkpoint.folder / SIGNATURE
    if public is None or (checkpoint.kind == "base" and not signature.exists()):
        return
    if not signature.is_file():
        raise Tampered(f"{checkpoint.id}: {signature} is missing; `liveweights sign` makes it")
    try:
        check_folder(checkpoint.folder, public)
    except Tampered as error:
        raise Tampered(f"{checkpoint.id}: {error}") from error


def check_folder(folder: Path, public: Path) -> None:
    """That a folder is signed with the key, every file of it and no other. Raises Tampered and
    SigningUnavailable."""
    signature = folder / SIGNATURE
    if not signature.is_file():
        raise Tampered(f"{signature} is missing")
    verifying = _library().verifying
    config = verifying.Config().use_elliptic_key_verifier(public_key=public)
    try:
        config.set_hashing_config(_hashing(folder)).verify(folder, signature)
    except Exception as error:
        # The library raises a plain ValueError for what differs, and whatever its parser or the
        # key's does for a signature that is none: all of it means "do not load this".
        raise Tampered(f"{signature} does not hold: {error}") from error


def _hashing(folder: Path) -> hashing.Config:
    # Paths of what a signature cannot cover: itself.
    names = (SIGNATURE, f".{SIGNATURE}.partial")
    config = _library().hashing.Config()
    return config.set_ignored_paths(paths=[folder / name for name in names], ignore_git_paths=False)


def _library() -> Any:
    try:
        import model_signing
    except ImportError as error:
        raise SigningUnavailable(
            "signing needs the extra: pip install 'liveweights[signing]'"
        ) from error
    return model_signing
