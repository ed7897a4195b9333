"""Keeping one child process alive that serves one checkpoint with llama.cpp."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import sys
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import aiohttp
import msgspec

from liveweights.engines.lines import read_output
from liveweights.engines.llama.host import Host
from liveweights.engines.protocol import EngineError
from liveweights.machine import yielding_environment

log = logging.getLogger(__name__)

START_SECONDS = 300.0
"""How long a child may take to read its weights."""
STARTS = 5
"""Failed starts in a row after which a checkpoint is given up until someone asks again."""
_FIRST_PAUSE = 0.2


class _Connection:
    """The HTTP session to one incarnation; it is closed when its last answer has ended.

    A dead child's sockets are closed by the kernel, which wakes whoever reads from them. Closing
    the session first would leave its readers waiting for ever.
    """

    def __init__(self, address: str, key: str) -> None:
        self.address = address
        self._answers = 0
        self._retired = False
        self._session = aiohttp.ClientSession(
            base_url=address,
            headers={"Authorization": f"Bearer {key}"},
            # The server ends a connection that is idle or has had many requests at a moment of its
            # own choosing; a request that goes out just then would look like a dead child.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        )

    @asynccontextmanager
    async def request(
        self, method: str, path: str, body: object | None
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        self._answers += 1
        try:
            async with self._session.request(method, path, json=body) as response:
                try:
                    yield response
                finally:
                    response.close()  # of a half-read answer: the server stops computing it
        finally:
            self._answers -= 1
            await self._close_if_done()

    async def retire(self) -> None:
        self._retired = True
        await self._close_if_done()

    async def _close_if_done(self) -> None:
        if self._retired and not self._answers:
            await self._session.close()


class LlamaProcess:
    """A child process and the HTTP session to it; a dead child is started again.

    ``incarnation`` counts the starts. Who notices that a child died calls ``revive`` with the
    incarnation it talked to; the first such call starts the next one, the others wait for it.
    """

    def __init__(self, checkpoint_id: str, host: Host) -> None:
        self.checkpoint_id = checkpoint_id
        self._host = host
        self._process: asyncio.subprocess.Process | None = None
        self._connection: _Connection | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._lock = asyncio.Lock()
        self._lines: deque[str] = deque(maxlen=20)
        self._stopped = False
        self.incarnation = 0
        self.failed = False
        """Whether starting it was given up; ``revive`` tries again."""

    def request(
        self, method: str, path: str, body: object | None = None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Ask the living child. Raises ConnectionError if there is none."""
        if self._connection is None:
            raise ConnectionError(f"{self.checkpoint_id} is not running")
        return self._connection.request(method, path, body)

    @property
    def address(self) -> str | None:
        """URL of the living child."""
        return self._connection.address if self._connection else None

    @property
    def pid(self) -> int | None:
        """Process id of the living child."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and alive else None

    @property
    def running(self) -> bool:
        """Whether a child can answer now."""
        return self._connection is not None and self.pid is not None

    async def revive(self, seen: int) -> None:
        """Make sure that an incarnation later than ``seen`` runs. Raises EngineError after
        ``STARTS`` failures in a row."""
        async with self._lock:
            pause = _FIRST_PAUSE
            for attempt in range(1, STARTS + 1):
                if self._stopped:
                    raise EngineError(f"{self.checkpoint_id} was unloaded")
                if self.incarnation > seen and self.running:
                    return
                try:
                    await self._start()
                    self.failed = False
                    return
                except (EngineError, OSError, TimeoutError) as error:
                    await self._end()
                    if attempt == STARTS:
                        self.failed = True
                        raise EngineError(
                            f"{self.checkpoint_id} does not start, {STARTS} attempts: {error}"
                        ) from error
                    log.warning("%s: start %d failed: %s", self.checkpoint_id, attempt, error)
                await asyncio.sleep(pause)
                pause *= 2

    async def start(self) -> None:
        """Start the first incarnation, in one attempt. Raises EngineError."""
        async with self._lock:
            try:
                await self._start()
            except (OSError, TimeoutError) as error:
                raise EngineError(f"{self.checkpoint_id} does not start: {error!r}") from error

    async def stop(self) -> None:
        """End the child. What it was answering breaks off."""
        self._stopped = True
        async with self._lock:
            await self._end()

    async def _start(self) -> None:
        await self._end()
        key = secrets.token_urlsafe(32)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "liveweights.engines.llama.host",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=yielding_environment(),
            # Out of the terminal's group: Ctrl-C is for the parent, which ends its children.
            start_new_session=True,
        )
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._lines.clear()
        reader = self._spawn(self._read(process.stderr))
        process.stdin.write(msgspec.json.encode(msgspec.structs.replace(self._host, api_key=key)))
        process.stdin.write(b"\n")
        await process.stdin.drain()
        async with asyncio.timeout(START_SECONDS):
            line = await process.stdout.readline()
        if not line:
            await process.wait()
            await asyncio.wait([reader], timeout=1)
            output = "\n".join(self._lines) or "it said nothing"
            raise EngineError(
                f"{self.checkpoint_id}: llama.cpp ended with status {process.returncode}: {output}"
            )
        self._connection = _Connection(str(msgspec.json.decode(line)["address"]), key)
        self.incarnation += 1
        self._spawn(self._watch(process, self.incarnation))

    async def _end(self) -> None:
        connection, self._connection = self._connection, None
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            # It has nothing to save. Not process.kill(): that may reap a child which is dead
            # already, behind the back of asyncio's watcher.
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            await process.wait()
        if connection is not None:
            await connection.retire()

    async def _read(self, stream: asyncio.StreamReader) -> None:
        async for text in read_output(stream):
            self._lines.append(text)
            log.debug("%s: %s", self.checkpoint_id, text)

    async def _watch(self, process: asyncio.subprocess.Process, incarnation: int) -> None:
        status = await process.wait()
        if self._stopped or self._process is not process:
            return
        log.warning("%s: llama.cpp ended with status %s, starting it again; it said: %s",
                    self.checkpoint_id, status, " | ".join(self._lines))  # fmt: skip
        try:
            await self.revive(incarnation)
        except EngineError as error:
            log.error("%s", error)

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
