"""Clients that people have, as they are published, each installed once into a cache folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from liveweights.weights.staging import exclusive, staged

PROGRAMS = Path(__file__).parent / "programs"
SECONDS = 600
"""For one command that fetches."""
FETCHES = pytest.mark.timeout(2 * SECONDS + 300)
"""For tests that fetch packages, or wait until others have, before they begin."""


@dataclass(frozen=True)
class Client:
    """A client and a program that uses it: ``program URL DIALECT whole|streamed``. Without one the
    client is a program itself, of Node."""

    name: str
    packages: tuple[str, ...]
    program: str = ""
    dialects: tuple[str, ...] = ("chat",)

    @property
    def version(self) -> str:
        """Of the package that it is called by: the first."""
        return self.packages[0].replace("==", "@").rpartition("@")[2]

    @property
    def is_node(self) -> bool:
        return not self.program.endswith(".py")

    def command(self) -> list[str]:
        """How its program is run."""
        folder, program = self.installed(), PROGRAMS / self.program
        if not self.is_node:
            return [str(folder / "bin" / "python"), str(program)]
        # Node looks for packages beside the program.
        shutil.copy(program, folder / program.name)
        return ["node", str(folder / program.name)]

    def installed(self) -> Path:
        """The folder of its packages, which are fetched if they are not there."""
        folder = self._folder()
        with exclusive(folder):
            if not folder.exists():
                with staged(folder) as place:
                    made = place / "made"
                    made.mkdir()
                    self._install(made)
                    made.rename(folder)
        return folder

    def _folder(self) -> Path:
        root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        name = "-".join(self.packages).replace("/", "_").replace("==", "-").replace("@", "-")
        kind = (
            "node" if self.is_node else f"python{sys.version_info.major}.{sys.version_info.minor}"
        )
        return Path(root).expanduser() / "liveweights" / "tests" / "clients" / f"{kind}-{name}"

    def _install(self, folder: Path) -> None:
        if self.is_node:
            if not (shutil.which("node") and shutil.which("npm")):
                pytest.skip("node and npm are not installed")
            quiet = ("--no-audit", "--no-fund", "--loglevel=error")
            run(["npm", "install", *quiet, "--prefix", str(folder), *self.packages])
        elif uv := shutil.which("uv"):
            run(
                [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder)]
            )
            python = str(folder / "bin" / "python")
            run([uv, "pip", "install", "--quiet", "--python", python, *self.packages])
        else:
            run([sys.executable, "-m", "venv", str(folder)])
            run([str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *self.packages])


def run(command: list[str]) -> None:
    subprocess.run(command, check=True, timeout=SECONDS)


CLIENTS = (
    Client(
        "OpenAI Agents SDK",
        ("openai-agents==0.24.0",),
        "agents_sdk.py",
        ("responses", "chat"),
    ),
    Client("LangChain", ("langchain-openai==1.7.4",), "langchain_chat.py", ("chat", "responses")),
    Client("LlamaIndex", ("llama-index-llms-openai-like==0.8.1",), "llamaindex_chat.py"),
    Client(
        "Vercel AI SDK",
        ("ai@7.0.173", "@ai-sdk/openai-compatible@3.0.92", "zod@4.6.7"),
        "ai_sdk.mjs",
    ),
)
CODEX = Client("Codex", ("@openai/codex@0.171.0",))
OPENAI_NODE = Client("openai (Node)", ("openai@6.49.0",))
"""The last that runs on Node 20."""
