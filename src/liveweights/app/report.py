"""What a part of the service tells its supervisor, through a pipe: where it listens, that it is
ready, and why it ends."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress

READY = b"ready\n"
AT = "listens at "
LONGEST = 2000
"""Characters of a reason."""


class Report:
    """The part's end. Telling nobody is no fault: the supervisor may be gone."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_inheritable(descriptor, False)  # a child of ours would keep the pipe open
        os.set_blocking(descriptor, False)

    def ready(self) -> None:
        """It does its work from now on."""
        self._write(READY)

    def listens(self, host: str, port: int) -> None:
        """It listens there, or is about to."""
        self._write(f"{AT}{port} {host}\n".encode())

    def reason(self, text: str) -> None:
        """It ends, for this reason."""
        self._write(" ".join(text.split())[:LONGEST].encode() + b"\n")

    def _write(self, line: bytes) -> None:
        with suppress(OSError):
            os.write(self._descriptor, line)


class Listener:
    """The supervisor's end; use as ``with``, in a running event loop. ``given`` is the descriptor
    that the part inherits."""

    def __init__(self) -> None:
        self._reading, self.given = os.pipe()
        os.set_blocking(self._reading, False)
        self._buffer = b""
        self.ready_at: float | None = None
        """When it was ready, on the loop's clock."""

    def __enter__(self) -> Listener:
        asyncio.get_running_loop().add_reader(self._reading, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._reading)
        os.close(self._reading)
        self.started()

    def started(self) -> None:
        """The part has inherited its end: this process has no more use for it."""
        if self.given >= 0:
            os.close(self.given)
            self.given = -1

    @property
    def reason(self) -> str:
        """Its last words; empty if it had none."""
        self._read()
        words = [
            line
            for line in self._lines()
            if line and f"{line}\n".encode() != READY and not line.startswith(AT)
        ]
        return words[-1] if words else ""

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port where it listens; None before it has said so."""
        for line in self._lines():
            if line.startswith(AT):
                port, _, host = line.removeprefix(AT).partition(" ")
                return host, int(port)
        return None

    def _lines(self) -> list[str]:
        return self._buffer.decode(errors="replace").split("\n")

    def _read(self) -> None:
        try:
            chunk = os.read(self._reading, 65536)
        except BlockingIOError:
            return
        if not chunk:  # its end is closed
            asyncio.get_running_loop().remove_reader(self._reading)
        self._buffer = (self._buffer + chunk)[-2 * LONGEST :]
        if self.ready_at is None and READY in chunk:
            self.ready_at = asyncio.get_running_loop().time()
