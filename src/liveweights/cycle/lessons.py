"""What a cycle may learn from, and how the answers of another model teach."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from liveweights.record.example import Example
from liveweights.record.feedback import Feedback
from liveweights.terms.current import Terms
from liveweights.terms.decision import Match


@dataclass(slots=True)
class Lessons:
    """Whose answers the model ``alias`` may learn from, by the rules of use; each denial is asked
    for, and noted, once."""

    terms: Terms
    alias: str
    denied: dict[tuple[str, str], Match | None] = field(
        default_factory=dict[tuple[str, str], Match | None]
    )
    """By model and tenant; None: it is allowed."""

    def may_learn(self, model: str, tenant: str) -> bool:
        key = (model, tenant)
        if key not in self.denied:
            learner = "itself" if model == self.alias else "another"
            asked = self.terms.ask("learn", tenant, learner)
            self.denied[key] = self.terms.permit(model, asked)
        return self.denied[key] is None

    def owed(self, teacher: str = "") -> list[str]:
        """What licences ask of a model that is trained on its own answers, and on those of a
        ``teacher``."""
        asked = [(self.alias, self.terms.ask("learn"))]
        if teacher:
            asked.append((teacher, self.terms.ask("learn", learner="another")))
        texts = [text for one in asked for text in self.terms.decide(*one).notices]
        return list(dict.fromkeys(texts))

    def describe(self) -> str:
        """What was denied, to follow a sentence; empty for nothing."""
        told = {
            f"{match.rule} does not allow it of {model}: {match}": None
            for (model, _), match in self.denied.items()
            if match is not None
        }
        return "".join(f"; {one}" for one in told)


def as_lesson(example: Example, alias: str) -> Example:
    """An answer of another model that users took, as a demonstration: what the model ``alias``
    should have said where it said nothing. Its own tokens mean nothing to this model, and how
    likely they were there is no part of it."""
    generation = example.generation
    if generation.alias == alias:
        return example
    wanted = Feedback(
        id=f"lesson-{generation.id}",
        generation=generation.id,
        signal="correction",
        text=generation.output,
        tenant=generation.tenant,
        received_at=generation.created_at,
    )
    withheld = replace(
        generation,
        prompt_ids=[],
        output_ids=[],
        logprobs=[],
        raw_logprobs=[],
        output="",
        selection=0.0,
        experts=None,
    )
    return Example(withheld, (wanted,))
