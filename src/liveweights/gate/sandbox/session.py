"""A sandbox that stays: files go in, then one shell command after the other."""

from __future__ import annotations

import asyncio
import base64
import io
import shlex
import tarfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from liveweights.gate.sandbox.bubblewrap import SandboxUnavailable
from liveweights.gate.sandbox.limits import Limits
from liveweights.gate.sandbox.sandbox import Sandbox

OUTPUT = "/run/terminal"
GRACE = 5.0
START = 60.0
"""Seconds within which a sandbox is made and its files are in it."""
TOLD = 2000
"""Bytes of what is said of a sandbox that could not be made."""

# Input: an archive of a stated length, then per command its seconds, the bytes of output that are
# wanted, and itself, each ended by a NUL byte. Answer: an empty word once the files are there, then
# exit status and output, likewise.
LOOP = r"""
head -c "$1" | tar -x -C / --no-same-owner || exit 1
printf '\0'
while IFS= read -r -d '' seconds && IFS= read -r -d '' most && IFS= read -r -d '' command; do
    timeout -k 1 "$seconds" bash -c "$command" </dev/null >/run/terminal/output 2>&1
    printf '%s\0' "$?"
    head -c "$most" /run/terminal/output | tr -d '\0'
    printf '\0'
done
"""
# tar ends with 1 or 2 where it left something out, and says so where the archive would be.
EXPORT = """
tar -c -C {folder} . 2>/dev/null | base64 -w0 2>/dev/null
codes=("${{PIPESTATUS[@]}}")
(( codes[0] <= 2 && codes[1] == 0 ))
"""


class SessionLost(RuntimeError):
    """The sandbox ended, or does not answer any more."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """What a command printed, output and errors mixed, and its exit status (124: out of time)."""

    code: int
    output: str


@dataclass(slots=True)
class Session:
    """Commands share files and background processes, but not a shell's variables."""

    _process: asyncio.subprocess.Process
    _read: bytearray = field(default_factory=bytearray)

    async def execute(self, command: str, seconds: float, most: int = 16_384) -> Terminal:
        """Run in bash, from the first folder. Raises SessionLost; the session is then of no use."""
        if "\0" in command:
            return Terminal(2, "a command cannot hold NUL bytes")
        writer = self._process.stdin
        assert writer is not None
        try:
            async with asyncio.timeout(seconds + GRACE):
                writer.write(f"{seconds:.3f}\0{most}\0{command}\0".encode())
                await writer.drain()
                code = await self._field(16)
                output = await self._field(most)
        except OSError as error:  # also out of time
            raise SessionLost(f"the sandbox ended while it ran {command[:80]!r}") from error
        return Terminal(int(code), output.decode(errors="replace"))

    async def prepare(self) -> None:
        """Until the files are there. Raises OSError."""
        async with asyncio.timeout(START):
            await self._field(0)

    async def _field(self, most: int) -> bytes:
        """Up to the next NUL byte. Raises ConnectionError where there is none."""
        reader = self._process.stdout
        assert reader is not None
        while (end := self._read.find(0)) < 0:
            chunk = await reader.read(65_536)
            if not chunk or len(self._read) > most:
                raise ConnectionError
            self._read += chunk
        value = bytes(self._read[:end])
        del self._read[: end + 1]
        return value

    async def export(self, folder: str, most: int) -> bytes:
        """A tar archive of a folder, without what cannot be read or is no file. Raises SessionLost
        also where it is larger than ``most``, or in base64 than the sandbox's disk."""
        terminal = await self.execute(
            EXPORT.format(folder=shlex.quote(folder)), 30, most * 4 // 3 + 4
        )
        try:
            if terminal.code:
                raise ValueError(f"exit status {terminal.code}")
            return base64.b64decode(terminal.output, validate=True)
        except ValueError as error:
            raise SessionLost(
                f"{folder} cannot be exported: more than {most} bytes? ({error})"
            ) from error


@asynccontextmanager
async def open_session(
    sandbox: Sandbox, files: Mapping[str, bytes], writable: Sequence[str], limits: Limits
) -> AsyncGenerator[Session]:
    """A session with ``files`` by absolute path, each within one of the ``writable`` folders.

    ``limits.seconds`` bounds the processor time of each process; who drives it keeps the clock.
    Raises SandboxUnavailable where the sandbox could not be made, or the files not be put there.
    """
    data = archive(files)
    command = ["bash", "-c", LOOP, "bash", str(len(data))]
    async with sandbox.start(command, limits, (*writable, OUTPUT)) as running:
        process, told = running.process, bytearray()
        assert process.stdin is not None
        process.stdin.write(data)
        errors = asyncio.create_task(_read(process.stderr, told))
        session = Session(process)
        try:
            try:
                await session.prepare()
            except OSError as error:  # also out of time
                running.kill()
                await errors
                why = told.decode(errors="replace").strip() or "no answer"
                raise SandboxUnavailable(f"the sandbox could not be made: {why}") from error
            yield session
        finally:
            errors.cancel()
            await asyncio.gather(errors, return_exceptions=True)


def archive(files: Mapping[str, bytes]) -> bytes:
    """A tar archive; files that begin with ``#!`` may be executed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size = len(content)
            entry.mode = 0o755 if content.startswith(b"#!") else 0o644
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


async def _read(stream: asyncio.StreamReader | None, into: bytearray) -> None:
    """To the end; the first bytes are kept."""
    while stream and (chunk := await stream.read(65_536)):
        into += chunk[: TOLD - len(into)]
