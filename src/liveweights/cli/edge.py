"""Where errors of files that the user named become a sentence."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import liveweights

OURS = Path(liveweights.__file__).parent


@contextmanager
def refuse_files() -> Generator[None]:
    """An OSError that names a file ends the command with 2. One that names none, or a file of this
    package, is a fault of ours, and passes."""
    try:
        yield
    except OSError as error:
        if not isinstance(error.filename, str | bytes | os.PathLike):
            raise
        file = os.fsdecode(error.filename)  # type: ignore[reportUnknownArgumentType]
        if Path(file).absolute().is_relative_to(OURS):
            raise
        from liveweights.cli.context import refuse  # brings much with it, for an error alone

        raise refuse(f"{file}: {error.strerror or error}") from error
