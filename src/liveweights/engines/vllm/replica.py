"""One vLLM server, ours or somebody else's: kept alive, and with the right adapters."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from liveweights.engines.protocol import EngineError
from liveweights.engines.vllm.process import VllmProcess
from liveweights.engines.vllm.wire import refusal
from liveweights.weights.checkpoint import Checkpoint

log = logging.getLogger(__name__)

START_SECONDS = 1800.0
"""How long a server may take to read its weights."""
LOOK = 1.0
"""Seconds between looks at its health."""
_SILENT = 60.0
_LONGEST_PAUSE = 10.0
AWAY = (aiohttp.ClientError, ConnectionError, TimeoutError)


class _Card(msgspec.Struct):
    id: str
    parent: str | None = None
    max_model_len: int | None = None


class _Cards(msgspec.Struct):
    data: list[_Card]


class Replica:
    """A server that is in while ``ready``, and out while it is dead or has not caught up.

    ``wanted`` is the engine's: the adapters that a server must hold before it is in again. An
    adapter's name is its checkpoint's id, which is that of its content; it is never loaded a
    second time under a name that is there. ``changed`` is set whenever the replica comes, goes
    or fails to come.
    """

    def __init__(
        self,
        context_length: int,
        wanted: Mapping[str, Checkpoint],
        changed: asyncio.Event,
        *,
        exact: bool = True,
        process: VllmProcess | None = None,
        address: str = "",
        key: str = "",
    ) -> None:
        self.context_length = context_length
        """Tokens of a request; less where the server takes less and need not take as many."""
        self._exact = exact
        self._wanted = wanted
        self._changed = changed
        self.process = process
        self._address = address.rstrip("/").removesuffix("/v1")
        self._key = key
        self._session: aiohttp.ClientSession | None = None
        self._minder: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._base = ""
        self.adapters: set[str] = set()
        self._given: set[str] = set()
        """Adapters that it was asked to load, or had when they were wanted: no others are ours."""
        self.answers = 0
        """How many it is computing for us."""
        self.ready = False
        self.failures = 0
        """How often in a row it did not come."""
        self.error = ""

    @property
    def name(self) -> str:
        return self.process.address if self.process else self._address

    def holds(self, checkpoint: Checkpoint) -> bool:
        """Whether it can answer for ``checkpoint`` now."""
        return self.ready and (checkpoint.kind != "adapter" or checkpoint.id in self.adapters)

    def model(self, checkpoint: Checkpoint) -> str:
        """The checkpoint's name on this server."""
        return checkpoint.id if checkpoint.kind == "adapter" else self._base

    def start(self) -> None:
        """Bring it in, and again whenever it is gone."""
        self._minder = asyncio.create_task(self._mind())

    async def close(self) -> None:
        if self._minder is not None:
            self._minder.cancel()
            await asyncio.gather(self._minder, return_exceptions=True)
        self.ready = False
        await self._disconnect()
        if self.process is not None:
            await self.process.stop()

    def lose(self) -> None:
        """Somebody noticed that it is gone, or has forgotten an adapter."""
        self.ready = False
        self._lost.set()

    @asynccontextmanager
    async def request(
        self, method: str, path: str, body: object | None = None
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Ask it. Leaving before the answer's end makes it stop computing."""
        if self._session is None:
            raise ConnectionError(f"{self.name} is not connected")
        async with self._session.request(method, path, json=body) as response:
            try:
                yield response
            finally:
                response.close()

    async def load(self, adapter: Checkpoint) -> None:
        """Load ``adapter`` where it is not there yet. Raises EngineError, AWAY."""
        self._given.add(adapter.id)
        if adapter.id in self.adapters:
            return
        body = {"lora_name": adapter.id, "lora_path": str(adapter.folder.absolute())}
        async with self.request("POST", "/v1/load_lora_adapter", body) as response:
            text = await response.text()
        if response.status != 200 and "already been loaded" not in text:
            why = refusal(response.status, text)
            if response.status == 404 and "adapter" not in why:
                why = "it was started without VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
            raise EngineError(f"{self.name} does not load {adapter.id}: {why}")
        self.adapters.add(adapter.id)

    async def unload(self, checkpoint_id: str) -> None:
        """Forget an adapter; one that is not there is ignored. Raises AWAY."""
        if checkpoint_id not in self.adapters:
            return
        self.adapters.discard(checkpoint_id)
        body = {"lora_name": checkpoint_id}
        async with self.request("POST", "/v1/unload_lora_adapter", body) as response:
            if response.status not in (200, 404):
                text = await response.text()
                log.warning("%s: %s stays loaded: %s", self.name, checkpoint_id, text)
        self._given.discard(checkpoint_id)

    async def _mind(self) -> None:
        pause = LOOK
        while True:
            try:
                await self._bring_in()  # and nothing is awaited before it is in: see _catch_up
                log.info("%s is in, with %d adapters", self.name, len(self.adapters))
                self.failures, self.error, pause = 0, "", LOOK
                self._announce(ready=True)
                await self._until_lost()
                log.warning("%s is out", self.name)
                self._announce(ready=False)
            except (*AWAY, EngineError, OSError, msgspec.MsgspecError) as error:
                self.failures += 1
                self.error = f"{self.name} cannot be used: {error or repr(error)}"
                log.warning("%s", self.error)
                self._announce(ready=False)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _announce(self, *, ready: bool) -> None:
        self.ready = ready
        self._changed.set()

    async def _bring_in(self) -> None:
        """From whatever it is to a server that holds what is wanted."""
        self._lost.clear()
        try:
            await self._reach()
        except EngineError as error:
            if self.process is None or not self.process.says_experts:
                raise
            log.warning("%s; trying without its experts", error)
            self.process.says_experts = False
            await self._reach()
        async with self.request("GET", "/v1/models") as response:
            if response.status != 200:
                raise EngineError(refusal(response.status, await response.text()))
            cards = msgspec.json.decode(await response.read(), type=_Cards).data
        base = next((card for card in cards if card.parent is None), None)
        if base is None:
            raise EngineError("it serves no model")
        if base.max_model_len and base.max_model_len < self.context_length:
            if self._exact:
                raise EngineError(
                    f"its context is {base.max_model_len} tokens: set engine.context_length "
                    f"({self.context_length}) to no more"
                )
            self.context_length = base.max_model_len
            log.info("context of %d tokens: %s takes no more", base.max_model_len, self.name)
        self._base = base.id
        self.adapters = {card.id for card in cards if card.parent is not None}
        await self._catch_up()

    async def _catch_up(self) -> None:
        """Until it holds what is wanted, and nothing that it was given and is wanted no more: that
        changes meanwhile. Nothing is awaited between the last look and the return."""
        refused: set[str] = set()
        while True:
            wanted = {id: each for id, each in self._wanted.items() if each.kind == "adapter"}
            self._given |= wanted.keys() & self.adapters
            if gone := (self._given & self.adapters) - wanted.keys():
                await self.unload(gone.pop())
                continue
            missing = [id for id in wanted if id not in self.adapters | refused]
            if not missing:
                return
            try:
                await self.load(wanted[missing[0]])
            except EngineError as error:  # the others are still good
                log.error("%s", error)
                refused.add(missing[0])

    async def _reach(self) -> None:
        """Connect to it, started where it is ours and ended. Raises EngineError, AWAY."""
        if self.process is not None and self.process.pid is None:
            await self.process.start()
        await self._disconnect()
        key = self.process.key if self.process else self._key
        self._session = aiohttp.ClientSession(
            base_url=self.name,
            headers={"Authorization": f"Bearer {key}"} if key else None,
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            read_bufsize=1 << 20,
        )
        if self.process is not None:
            await self._until_up(self.process)

    async def _until_up(self, process: VllmProcess) -> None:
        async with asyncio.timeout(START_SECONDS):
            while True:
                if process.pid is None:
                    raise EngineError(f"vLLM ended while it started: {process.last_output()}")
                try:
                    if await self._is_well():
                        return
                except AWAY:
                    pass  # it does not listen yet
                await asyncio.sleep(0.25)

    async def _until_lost(self) -> None:
        silent = 0.0
        while not self._lost.is_set():
            if self.process is not None and self.process.pid is None:
                log.warning("%s has ended; it said: %s", self.name, self.process.last_output())
                return
            try:
                async with asyncio.timeout(LOOK):
                    await self._lost.wait()
            except TimeoutError:
                pass
            try:
                if not self._lost.is_set() and not await self._is_well():
                    return
                silent = 0.0
            except TimeoutError:
                # A server that computes on every core may be slow to say that it is well.
                silent += 10.0
                if silent >= _SILENT:
                    return
            except (aiohttp.ClientError, ConnectionError):
                return

    async def _is_well(self) -> bool:
        async with asyncio.timeout(10), self.request("GET", "/health") as response:
            return response.status == 200

    async def _disconnect(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
