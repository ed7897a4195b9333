"""What a cycle may learn from, and how the answers of another model teach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from liveweights.record.example import Example
from liveweights.record.feedback import Feedback
from liveweights.terms.current import Terms
from liveweights.terms.decision import Match
from liveweights.terms.rules import Learner


@dataclass(slots=True)
class Lessons:
    """Whose answers the model ``alias`` may learn from, whose weights are on ``base``, by the rules
    of use; each denial is asked for, and noted, once. On another base it is another model; None:
    not known, and taken for the same."""

    terms: Terms
    alias: str
    base: str | None = None
    denied: dict[tuple[str, str, str | None], Match | None] = field(
        default_factory=dict[tuple[str, str, str | None], Match | None]
    )
    """By model, tenant and base; None: it is allowed."""

    def may_learn(self, model: str, tenant: str, base: str | None = None) -> bool:
        """Whether from what the model said to the tenant, on a base."""
        key = (model, tenant, base)
        if key not in self.denied:
            asked = self.terms.ask("learn", tenant, self._learner(model, base))
            self.denied[key] = self.terms.permit(model, asked, base)
        return self.denied[key] is None

    def owed(self, teachers: Iterable[tuple[str, str | None]] = ()) -> list[str]:
        """What licences ask of a model that is trained on answers of its own, and of ``teachers``,
        each with its base."""
        asked = dict.fromkeys(((self.alias, self.base), *teachers))
        texts = [
            text
            for model, base in asked
            for text in self.terms.decide(
                model, self.terms.ask("learn", learner=self._learner(model, base)), base
            ).notices
        ]
        return list(dict.fromkeys(texts))

    def _learner(self, model: str, base: str | None) -> Learner:
        other = None not in (base, self.base) and base != self.base
        return "another" if model != self.alias or other else "itself"

    def describe(self) -> str:
        """What was denied, to follow a sentence; empty for nothing."""
        told = {
            f"{match.rule} does not allow it of {model}: {match}": None
            for (model, _, _), match in self.denied.items()
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
