"""A user's rows among those that wait on disk for Postgres."""

from __future__ import annotations

import time
from pathlib import Path

from liveweights.record.binary import Row, owner_of
from liveweights.record.spill import Spill, SpillInUse, SpillUnreadable


def drop_spilled(folder: Path, owner: tuple[str, str], patience: float) -> list[str]:
    """Take the rows of (tenant, user) off the disk, from the folders of all roles.

    A running process writes its own, and drops those of who is forgotten: that is waited for, at
    most ``patience`` seconds. What is left, in sentences.
    """
    left: list[str] = []

    def unwanted(row: Row) -> bool:
        return owner_of(row) == owner

    deadline = time.monotonic() + patience
    for place in sorted(folder.glob("*")):
        if not place.is_dir():
            continue
        while True:
            try:
                spill = Spill(place)
            except SpillInUse:
                if not any(place.glob("*.rows")):
                    break
                if time.monotonic() > deadline:
                    left.append(
                        f"a running process keeps rows in {place}; it drops those of the user when"
                        " it writes them"
                    )
                    break
                time.sleep(0.2)
                continue
            except SpillUnreadable as error:
                left.append(str(error))
                break
            try:
                spill.drop(unwanted)
            finally:
                spill.close()
            break
        left += [
            f"{file} is damaged and may hold rows of the user; remove it"
            for file in sorted(place.glob("*.damaged"))
        ]
    return left
