"""The commands that README and docs show, as a reader would copy them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.docs.pages import PAGES, ROOT

_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Command:
    """One line of a shell block, with its continuations, without comment and redirection."""

    page: str
    line: str

    def __str__(self) -> str:
        return f"{self.page}: {self.line}"


def commands(page: Path) -> Iterator[Command]:
    """Every command of the page's ``sh`` blocks, in order."""
    for block in _BLOCK.findall(page.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            line = re.sub(r"\s+#\s.*$", "", line).partition(" > ")[0].strip()
            if line and not line.startswith("#"):
                yield Command(str(page.relative_to(ROOT)), line)


def all_commands() -> list[Command]:
    return [command for page in PAGES for command in commands(page)]
