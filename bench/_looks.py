"""What bases do at held-out positions, kept in a file for rows that begin with the same one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from _rows import Row
from liveweights import __version__
from liveweights.replay.developer import Outcome, Position, judge
from liveweights.replay.measure import Measurement


class Looks:
    """Answers of bases, by what they were asked and served with; without a ``file`` nothing is
    kept."""

    def __init__(self, file: Path | None) -> None:
        self._file = file

    async def find(
        self,
        row: Row,
        places: Sequence[Position],
        look: Callable[[], Awaitable[Measurement]],
        *,
        base: str,
        max_tokens: int,
    ) -> Measurement:
        """What was kept for ``row``'s ``base``, by the id of its content, at these places, else
        what ``look`` finds. Another version may serve it otherwise."""
        served = (base, row.engine, row.precision, str(max_tokens), __version__)
        asked = "\0".join((*served, *(place.prompt for place in places)))
        key = hashlib.sha256(asked.encode()).hexdigest()
        kept = self._read()
        if key in kept:
            texts = kept[key]
            outcomes: list[Outcome | None] = [
                judge(text, place.expected) for text, place in zip(texts, places, strict=True)
            ]
            return Measurement(row.model, tuple(places), tuple(texts), tuple(outcomes))
        found = await look()
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.write_text(json.dumps(self._read() | {key: found.texts}))
        return found

    def _read(self) -> dict[str, Any]:
        if self._file is None or not self._file.exists():
            return {}
        return json.loads(self._file.read_text())
