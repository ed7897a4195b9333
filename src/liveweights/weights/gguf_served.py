"""What llama.cpp's server is given of a GGUF: the same weights, and tokens that it does not keep.

Its server withholds a token whose text ends within a character, and with it its id and its
log-probability (``process_token`` in llama.cpp's ``tools/server/server-context.cpp``). Of a token
that is "user defined" the text is the token's spelling, which is always whole. Token types are a
list of numbers in the metadata, which takes the same room whatever they are; there is no way to
give llama.cpp others than the file's. So that the file stays as it is, its first part is copied: by
sharing its blocks where the file system can, else by taking as much disk once more.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

from liveweights.weights.byte_level import ends_within_character
from liveweights.weights.gguf_header import Header, read_header
from liveweights.weights.gguf_pieces import BYTE_TOKENS
from liveweights.weights.gguf_tokenizer import PIECES
from liveweights.weights.staging import exclusive, publish, staged
from liveweights.weights.tensors import BrokenFile

LAYOUT = 1
"""Raised when the copies change, so that an older one is not taken for the new one."""
TOKENS = "tokenizer.ggml.tokens"
TYPES = "tokenizer.ggml.token_type"
_NORMAL, _USER_DEFINED, _BYTE = 1, 4, 6
_PARTIAL = tuple(struct.pack("<i", kind) for kind in (_NORMAL, _BYTE))
_FICLONE = 0x40049409  # linux/fs.h
_SPARE = 1 << 30
"""Bytes of disk that a copy leaves free."""


def make_servable(files: Sequence[Path], target: Path) -> Path:
    """The first of the GGUF ``files`` of a model, or a copy of it in the folder ``target``, made at
    first use, with links to the others beside it.

    Raises OSError where the disk has no room for it, BrokenFile.
    """
    copies = [target / name for name in _names(len(files))]
    if not copies[0].is_file():
        header = read_header(files[0])
        partial = find_partial(header)
        if not partial:
            return files[0]
        with exclusive(target):
            if not target.is_dir():
                with staged(target) as folder:
                    made = folder / "model"
                    made.mkdir()
                    _copy(files[0], made / copies[0].name)
                    _rewrite(made / copies[0].name, header.places[TYPES], partial)
                    publish(made, target)
    for file, link in zip(files[1:], copies[1:], strict=True):  # they may have been moved
        _link(file, link)
    return copies[0]


def _names(count: int) -> list[str]:
    """As llama.cpp finds the parts of a model by the first's name."""
    if count == 1:
        return ["model.gguf"]
    return [f"model-{number:05}-of-{count:05}.gguf" for number in range(1, count + 1)]


def find_partial(header: Header) -> list[int]:
    """Ids of the tokens whose text ends within a character: of SentencePiece's the bytes beyond
    ASCII, of others the normal ones that do."""
    tokens, types = header.metadata[TOKENS], header.metadata[TYPES]
    numbered = enumerate(zip(tokens, types, strict=True))
    if header.metadata.get("tokenizer.ggml.model") == PIECES:
        beyond = BYTE_TOKENS[128:]
        return [id for id, (one, kind) in numbered if kind == _BYTE and one in beyond]
    return [
        id for id, (one, kind) in numbered if kind == _NORMAL and ends_within_character(str(one))
    ]


def _link(file: Path, link: Path) -> None:
    if link.is_symlink() and link.readlink() == file:
        return
    new = link.with_name(f"{link.name}.{os.getpid()}.partial")
    new.symlink_to(file)
    new.replace(link)


def _copy(file: Path, target: Path) -> None:
    """Raises OSError, with a sentence where the disk is too small."""
    with file.open("rb") as source, target.open("wb") as copy:
        try:
            fcntl.ioctl(copy.fileno(), _FICLONE, source.fileno())
        except OSError:
            size = os.fstat(source.fileno()).st_size
            free = shutil.disk_usage(target.parent).free
            if free < size + _SPARE:
                raise OSError(
                    errno.ENOSPC,
                    f"llama.cpp needs a copy of {file} with other types of tokens: "
                    f"{size / 1e9:.1f} GB in {target.parents[2]}, which has {free / 1e9:.1f} GB "
                    "free; make room there, or set `cache` to a folder with more",
                ) from None
            shutil.copyfileobj(source, copy, 1 << 24)


def _rewrite(file: Path, place: int, ids: Sequence[int]) -> None:
    """Raises BrokenFile where the types are not of 32 bits, as llama.cpp reads them."""
    with file.open("r+b") as stream:
        for id in ids:
            stream.seek(place + 4 * id)
            if stream.read(4) not in _PARTIAL:
                raise BrokenFile(f"{TYPES} is no list of numbers of 32 bits")
            stream.seek(place + 4 * id)
            stream.write(struct.pack("<i", _USER_DEFINED))
