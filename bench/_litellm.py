"""LiteLLM's proxy in front of an upstream, from its own environment (`make .venv-litellm`)."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

COMMAND = Path(__file__).parent.parent / ".venv-litellm/bin/litellm"
BEHIND = """
model_list:
  - model_name: stub
    litellm_params: {params}
general_settings:
  forward_client_headers_to_llm_api: true  # the stub is told by headers what to do
  dangerously_permit_weak_or_unset_master_key: true  # nobody else asks for keys here
litellm_settings: {settings}
"""


def start_litellm(
    folder: Path,
    upstream: str,
    port: int,
    log: Path,
    *,
    params: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes] | None:
    """None where it is not installed. It serves the model ``stub``; ``params`` and ``settings`` are
    added to its ``litellm_params`` and ``litellm_settings``."""
    if not COMMAND.exists():
        print("LiteLLM is skipped: `make .venv-litellm` installs it")
        return None
    model = {"model": "openai/stub", "api_base": f"{upstream}/v1", "api_key": "none"}
    said = {"telemetry": False, "drop_params": True}
    config = folder / "litellm.yaml"
    config.write_text(BEHIND.format(params=_flow(model, params), settings=_flow(said, settings)))
    words = (COMMAND, "--config", config, "--port", port, "--host", "127.0.0.1")
    # Without the first the map of costs is fetched at the start.
    return start(words, log, LITELLM_LOCAL_MODEL_COST_MAP="True", **(env or {}))


def _flow(*parts: Mapping[str, Any] | None) -> str:
    """One line of YAML, which JSON is."""
    whole: dict[str, Any] = {}
    for part in parts:
        whole |= part or {}
    return msgspec.json.encode(whole).decode()


def start(words: Any, log: Path, **env: str) -> subprocess.Popen[bytes]:
    """A program in a session of its own."""
    with log.open("wb") as out:
        return subprocess.Popen(
            [str(word) for word in words],
            stdout=out,
            stderr=out,
            env={**os.environ, **env},
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes], patience: float = 20.0) -> None:
    """End it, and all that it began where it does not end by itself."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
