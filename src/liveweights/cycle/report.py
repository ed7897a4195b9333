"""What one cycle learnt, with the texts that its figures are about."""

from __future__ import annotations

from typing import Any

from liveweights.cycle import ledger
from liveweights.cycle.status import standing
from liveweights.learn.truth import last_correction
from liveweights.record import read
from liveweights.store.database import Connection


async def read_report(conn: Connection, alias: str, cycle: int) -> dict[str, Any]:
    """A cycle's ledger entry; each example that moved gets the texts that it is about.

    The texts are read from the record: what a user had removed is not there any more and stays
    None. Raises LookupError for an unknown cycle.
    """
    entry = await ledger.get(conn, alias, cycle)
    learning = entry.learning or {}
    moved = [await _worded(conn, example) for example in learning.get("moved", [])]
    return {
        "id": entry.id,
        "alias": entry.alias,
        "state": entry.state,
        "outcome": entry.outcome,
        "standing": standing(entry),
        "reason": entry.reason,
        "incumbent": entry.incumbent,
        "candidate": entry.candidate,
        "learning": {**learning, "moved": moved} if learning else None,
        "verdict": entry.verdict,
        "canary": entry.canary,
    }


async def _worded(conn: Connection, example: dict[str, Any]) -> dict[str, Any]:
    generation = await read.generation(conn, example["generation"])
    wording = None
    if generation is not None and example["text"] == "answer":
        wording = generation.output
    elif generation is not None:
        feedback = await read.feedback(conn, generation.id)
        wording = last_correction(feedback) or generation.output
    prompt_ids = generation.prompt_ids if generation else None
    return {**example, "wording": wording, "prompt_ids": prompt_ids}
