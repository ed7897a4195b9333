"""Put what a demo showed into the README: ``python docs/board.py runs/demo/board.txt``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
_PLACE = re.compile(r"(<!-- board:.*?-->\n).*?(<!-- end of board -->)", re.DOTALL)


def with_board(page: str, board: str) -> str:
    """``page`` with ``board`` between its two marks. Raises ValueError where they are missing."""
    if not _PLACE.search(page):
        raise ValueError("the page has no place for the board: <!-- board: --> and its end")
    block = f"\n```text\n{board.strip(chr(10))}\n```\n\n"
    return _PLACE.sub(lambda found: found[1] + block + found[2], page, count=1)


if __name__ == "__main__":
    README.write_text(with_board(README.read_text(), Path(sys.argv[1]).read_text()))
