from __future__ import annotations

import shutil
import stat
from functools import partial
from pathlib import Path

import pytest

from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import content_id, hash_files
from liveweights.weights.registry import Registry, Tampered
from liveweights.weights.signing import SIGNATURE, SigningUnavailable, check, make_keys, sign

from .test_registry import adapter, store


@pytest.fixture
def signed(tmp_path: Path) -> tuple[Checkpoint, Path]:
    """A checkpoint that was signed when it was stored, and the public key."""
    pytest.importorskip("model_signing", reason="pip install 'liveweights[signing]'")
    public = make_keys(tmp_path / "key")
    registry = Registry(tmp_path / "checkpoints", partial(sign, private=tmp_path / "key"))
    return store(registry, adapter(tmp_path / "staging", 1.0)), public


def test_what_was_signed_holds_wherever_it_is_copied(
    signed: tuple[Checkpoint, Path], tmp_path: Path
) -> None:
    checkpoint, public = signed
    check(checkpoint, public)
    check(checkpoint, None)
    copy = shutil.copytree(checkpoint.folder, tmp_path / "copy")
    check(Checkpoint(checkpoint.id, "adapter", Path(copy), checkpoint.base), public)


@pytest.mark.parametrize(
    ("file", "named"),
    [("adapter_model.safetensors", "adapter_model.safetensors"), ("probes.json", "probes.json")],
)
def test_a_tampered_file_is_named_and_refused(
    signed: tuple[Checkpoint, Path], file: str, named: str
) -> None:
    checkpoint, public = signed
    path = checkpoint.folder / file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(Tampered, match=named):
        check(checkpoint, public)


def test_an_added_file_a_strangers_key_and_a_broken_signature_are_refused(
    signed: tuple[Checkpoint, Path], tmp_path: Path
) -> None:
    checkpoint, public = signed
    with pytest.raises(Tampered, match="does not hold"):
        check(checkpoint, make_keys(tmp_path / "stranger"))
    (checkpoint.folder / "payload.py").write_text("x")
    with pytest.raises(Tampered, match=r"payload\.py"):
        check(checkpoint, public)
    (checkpoint.folder / "payload.py").unlink()
    (checkpoint.folder / SIGNATURE).write_text("{}")
    with pytest.raises(Tampered, match="does not hold"):
        check(checkpoint, public)


def test_with_a_public_key_nothing_unsigned_is_loaded_but_a_base(tmp_path: Path) -> None:
    public = make_keys(tmp_path / "key")
    checkpoint = store(Registry(tmp_path / "checkpoints"), adapter(tmp_path / "staging", 1.0))
    check(checkpoint, None)
    with pytest.raises(Tampered, match="liveweights sign"):
        check(checkpoint, public)
    base = Checkpoint(
        f"base@{content_id(hash_files(checkpoint.folder))}", "base", checkpoint.folder
    )
    check(base, public)
    (base.folder / "tokenizer.json").write_text("{}")
    with pytest.raises(Tampered, match=f"liveweights verify {base.id}"):
        check(base, public)


def test_the_private_key_is_its_owners_and_is_never_overwritten(tmp_path: Path) -> None:
    make_keys(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        make_keys(tmp_path / "key")


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "model_signing", None)
    with pytest.raises(SigningUnavailable, match=r"liveweights\[signing\]"):
        sign(tmp_path, tmp_path / "key")
