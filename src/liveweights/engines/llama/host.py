"""The process that serves one checkpoint with llama.cpp: ``python -m liveweights.engines.llama.host``.

It reads one line of JSON (``Host``) from stdin, answers with one line ``{"address": URL}`` on
stdout when it can serve, and ends when stdin ends or its parent dies. A process of its own means
that a crash, or a prompt cache, is never shared between checkpoints.
"""  # noqa: E501

from __future__ import annotations

import os
import sys
from typing import Any

import msgspec

from liveweights.machine import end_with_parent

_NICENESS = 4
"""So that feedback, figures and refusals do not wait for tokens that others have asked for: while
all cores compute, who wants one for a millisecond gets it at once."""


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What to serve. ``context_length`` is in tokens per slot; ``check_values`` is whether all
    weights are looked at for what is no finite number, and such are refused."""

    gguf: str
    adapter: str | None
    api_key: str
    context_length: int
    slots: int
    threads: int
    cache_mib: int
    check_values: bool = False


def main() -> None:
    parent = os.getppid()
    end_with_parent()
    os.nice(_NICENESS)
    # Native code prints to stdout, too; keep the real one for the answer.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    line = sys.stdin.readline()
    if not line or os.getppid() != parent:
        return
    host = msgspec.json.decode(line, type=Host)
    try:
        server, address = serve(host)
    except RuntimeError as error:  # llama.cpp has said more on stderr
        sys.exit(str(error))
    print(msgspec.json.encode({"address": address}).decode(), file=answer, flush=True)
    sys.stdin.read()
    # Skip the server's orderly shutdown: it would wait for open connections of a parent that
    # is gone or does not want them any more.
    del server
    os._exit(0)


def serve(host: Host) -> tuple[object, str]:
    """Start llama.cpp's server in this process: ``(server, address)``. It stops with the
    process."""
    import xllamacpp

    native: Any = xllamacpp  # compiled, without type information
    params = native.CommonParams()
    params.model.path = host.gguf
    params.check_tensors = host.check_values
    if host.adapter is not None:
        params.lora_adapters = [native.CommonAdapterLoraInfo(host.adapter, 1.0)]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [host.api_key]
    params.n_parallel = host.slots
    params.n_ctx = host.slots * host.context_length
    params.kv_unified = False
    params.cpuparams.n_threads = host.threads
    params.cpuparams_batch.n_threads = host.threads
    params.n_threads_http = 64
    params.cache_ram_mib = host.cache_mib
    params.endpoint_slots = True
    params.ui = False
    params.fit_params = False
    params.warmup = True
    params.verbosity = 1
    server = native.Server(params)
    return server, str(server.listening_address)


if __name__ == "__main__":
    main()
