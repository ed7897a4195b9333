"""Starting a vLLM server in its own environment, and ending it with all that it started."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
from asyncio.subprocess import PIPE, Process
from collections import deque
from contextlib import suppress
from pathlib import Path

from liveweights.engines.drawn import MAX_CANDIDATES
from liveweights.engines.lines import read_output
from liveweights.engines.protocol import EngineError
from liveweights.engines.settings import EngineSettings, VllmSettings
from liveweights.machine import request_parent_death_signal
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import is_mixture

log = logging.getLogger(__name__)

PATIENCE = 15.0
"""Seconds that a server gets to end by itself."""


class VllmProcess:
    """One server that is ours. It ends with us: the kernel sees to the parent, the process group
    to the rest."""

    def __init__(self, base: Checkpoint, settings: EngineSettings, vllm: VllmSettings) -> None:
        self._base = base
        self._settings = settings
        self._vllm = vllm
        self._python = vllm.python or default_python()
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self.says_experts = is_mixture(base.folder)
        """Whether it is started so that it says which experts it used. Not every build, model and
        option of vLLM goes with that."""
        self._lines: deque[str] = deque(maxlen=30)
        self.key = secrets.token_urlsafe(32)
        self.address = ""

    @property
    def pid(self) -> int | None:
        """Process id of the living server."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def last_output(self) -> str:
        """The end of what it printed."""
        return "\n".join(self._lines) or "it said nothing"

    async def start(self) -> None:
        """Begin to start it; it answers when its weights are read. Raises EngineError."""
        await self.stop()
        port = _free_port()
        self.address = f"http://127.0.0.1:{port}"
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command(port),
                env=self._environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=request_parent_death_signal,
            )
        except OSError as error:
            raise EngineError(
                f"vLLM cannot be started with {self._python}: {error}. Install it there "
                "(`make .venv-vllm`), or point vllm.python at an environment that has it"
            ) from error
        self._lines.clear()
        assert self._process.stdout is not None
        self._reader = asyncio.create_task(self._read(self._process.stdout))

    async def stop(self) -> None:
        """End it and everything that it started."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            _signal(process.pid, signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await process.wait()
        # Its engine and workers, if they outlive it.
        _signal(process.pid, signal.SIGKILL)
        await process.wait()
        if self._reader is not None:
            self._reader.cancel()

    def _command(self, port: int) -> list[str]:
        settings, vllm = self._settings, self._vllm
        options: dict[str, object] = {
            "model": self._base.folder,
            "served-model-name": self._base.id,
            "host": "127.0.0.1",
            "port": port,
            "dtype": settings.dtype,
            "max-model-len": settings.context_length,
            "max-num-seqs": settings.slots,
            "max-loras": vllm.adapters,
            "max-cpu-loras": vllm.adapters * 2,
            "max-lora-rank": vllm.lora_rank,
            "logprobs-mode": "raw_logprobs",
            "max-logprobs": MAX_CANDIDATES,
        }
        flags = ["--enable-lora", "--enable-scale-out", "--disable-uvicorn-access-log"]
        if self.says_experts:
            flags.append("--enable-return-routed-experts")
        pairs = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        server = [self._python, "-m", "vllm.entrypoints.openai.api_server"]
        return [*server, *pairs, *flags, *vllm.arguments]

    def _environment(self) -> dict[str, str]:
        ours = {
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
            "VLLM_API_KEY": self.key,
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            # On a CPU: threads as for the other engines, on whatever cores are free.
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(self._settings.cores()),
            "VLLM_CPU_KVCACHE_SPACE": str(self._vllm.kv_cache_gib),
        }
        theirs = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        return {**theirs, **ours}

    async def _read(self, stream: asyncio.StreamReader) -> None:
        async for text in read_output(stream):
            self._lines.append(text)
            log.debug("vllm: %s", text)


def default_python() -> str:
    """Where ``make test-vllm`` puts vLLM, else the ``python`` on the path."""
    local = Path(".venv-vllm/bin/python")
    return str(local.absolute()) if local.exists() else "python"


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
