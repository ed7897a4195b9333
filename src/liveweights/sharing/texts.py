"""What users wrote, of the rows that a checkpoint learnt from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from liveweights.catalog.template import TemplateSettings
from liveweights.cycle.translation import translate
from liveweights.learn.rows import Encode, answer_place, written_ids
from liveweights.record.example import Example
from liveweights.record.window import read
from liveweights.release.lineage import read_lineage
from liveweights.sharing.repetition import CONTEXT, LONGEST, Probe, make_probe
from liveweights.store.database import Connection

SEALED = "select coalesce(sum(trained), 0) from sealed where cycle = any(%s)"


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


async def read_taught(
    conn: Connection, checkpoint: str, root: str, template: TemplateSettings
) -> Taught:
    """Every answer that made the checkpoint what it is, with the reactions to it; as an update on
    ``root`` has them, those of other bases in words. Raises NotRegistered, and what the parsers of
    their tokenizers find."""
    lineage = await read_lineage(conn, checkpoint)
    cycles = [one.cycle for one in lineage.chain if one.cycle is not None]
    cursor = await conn.execute(SEALED, (cycles,))
    row = await cursor.fetchone()
    assert row is not None
    examples = [one for cycle in cycles for one in await read(conn, cycle, "train")]
    return Taught(tuple(await translate(conn, examples, root, template)), int(row[0]))


def make_probes(examples: Iterable[Example], encode: Encode, ngram: int) -> tuple[list[Probe], int]:
    """One for each text of a user, after the tokens that it was learnt after: what was written
    instead, what was left of an answer after edits, and comments. The same text to the same answer
    counts once. And how many texts have no such place in this model's tokens, as an answer has
    whose prompt cannot be said in them: such a text teaches nothing."""
    probes: dict[tuple[str, str], Probe] = {}
    unasked: set[tuple[str, str]] = set()
    for example in examples:
        generation = example.generation
        for feedback in example.feedback:
            if not feedback.text:
                continue
            if feedback.signal == "comment":
                place, ids = generation.prompt_ids, encode(feedback.text)
            else:
                place = answer_place(generation, encode)
                ids = written_ids(generation, feedback.text, encode)
            key = (generation.id, feedback.text)
            if not place:
                unasked.add(key)
                continue
            row = f"feedback {feedback.id} to answer {generation.id}"
            probes.setdefault(key, make_probe(row, place, ids, ngram))
    return list(probes.values()), len(unasked - probes.keys())


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
