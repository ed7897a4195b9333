"""What users wrote, of the rows that a checkpoint learnt from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from liveweights.record.example import Example
from liveweights.record.window import read
from liveweights.release.lineage import read_lineage
from liveweights.sharing.repetition import CONTEXT, LONGEST, Probe, make_probe
from liveweights.store.database import Connection

SEALED = "select coalesce(sum(trained), 0) from sealed where cycle = any(%s)"

Encode = Callable[[str], list[int]]


@dataclass(frozen=True, slots=True)
class Taught:
    """What the cycles of a lineage learnt from, as far as it is in the record, and how many answers
    that were once."""

    examples: tuple[Example, ...]
    claimed: int

    @property
    def gone(self) -> int:
        """Answers that were archived since, or forgotten."""
        return max(0, self.claimed - len({one.generation.id for one in self.examples}))


async def read_taught(conn: Connection, checkpoint: str) -> Taught:
    """Every answer that made the checkpoint what it is, with the reactions to it. Raises
    NotRegistered."""
    lineage = await read_lineage(conn, checkpoint)
    cycles = [one.cycle for one in lineage.chain if one.cycle is not None]
    cursor = await conn.execute(SEALED, (cycles,))
    row = await cursor.fetchone()
    assert row is not None
    examples = [one for cycle in cycles for one in await read(conn, cycle, "train")]
    return Taught(tuple(examples), int(row[0]))


def make_probes(examples: Iterable[Example], encode: Encode, ngram: int) -> list[Probe]:
    """One for each text of a user: what was written instead, what was left of an answer after
    edits, and comments. The same text to the same answer counts once."""
    probes: dict[tuple[str, str], Probe] = {}
    for example in examples:
        generation = example.generation
        for feedback in example.feedback:
            if not feedback.text:
                continue
            said = feedback.signal == "comment"
            ids = encode(feedback.text if said else generation.healed + feedback.text)
            row = f"feedback {feedback.id} to answer {generation.id}"
            probe = make_probe(row, generation.prompt_ids, ids, ngram)
            probes.setdefault((generation.id, feedback.text), probe)
    return list(probes.values())


def read_canaries(lines: Iterable[str], encode: Encode) -> list[Probe]:
    """Texts that were put among the feedback to be looked for, one a line: the first half of each
    is shown, and the rest, however short, is to stay unsaid. Of a long one that is what is next to
    its middle."""
    probes: list[Probe] = []
    for number, line in enumerate(lines, 1):
        ids = encode(line.strip())
        if ids:
            half = len(ids) // 2
            shown = tuple(ids[max(0, half - CONTEXT) : half])
            kept = tuple(ids[half : half + LONGEST])
            probes.append(Probe(f"canary in line {number}", shown, kept, len(kept), is_canary=True))
    return probes
