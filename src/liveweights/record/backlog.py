"""How far the record is behind."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What was recorded and is not in Postgres yet, in memory and on disk.

    ``age`` is that of its oldest row, in seconds; ``late`` says that this is more than it may be.
    ``quarantined`` are the rows that this writer put aside because Postgres refused them.
    """

    rows: int = 0
    bytes: int = 0
    age: float = 0.0
    late: bool = False
    quarantined: int = 0

    @property
    def complaint(self) -> str | None:
        """What is wrong, if it is late."""
        if not self.late:
            return None
        return f"the record is {self.age:.0f} s behind: {self.rows} rows wait for the database"
