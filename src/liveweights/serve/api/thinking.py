"""The thinking of one answer: how its family does it, what the prompt has of it, its bound."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from liveweights.catalog.template import EFFORT, SWITCHES
from liveweights.engines.thinking import ThinkingBudget
from liveweights.serve.api.syntax.thinking import Prompted, Splitter, Thinker

WITHOUT = ("none", "minimal")
"""Efforts that mean not to think, where a template has a switch only."""
_TAG = re.compile(r"\{[{%](.*?)[}%]\}", re.DOTALL)
_TEXT = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Thinking:
    """``budget`` None: as long as it wants."""

    thinker: Thinker
    prompted: Prompted
    budget: ThinkingBudget | None = None

    def splitter(self) -> Splitter:
        """Parts the answer from it."""
        return self.thinker.splitter(self.prompted)

    def allow(self, grammar: str, *, text: bool) -> str:
        """A grammar of answers that follow ``grammar`` afterwards; see ``Thinker.allow``."""
        return self.thinker.allow(grammar, self.prompted, text=text)


@lru_cache(maxsize=64)
def names_in(template: str) -> frozenset[str]:
    """The names that a template's own expressions use; words in its texts are none."""
    tags = (_TEXT.sub("''", tag) for tag in _TAG.findall(template))
    return frozenset(name for tag in tags for name in _NAME.findall(tag))


def effort_variables(effort: str, template: str) -> dict[str, object] | None:
    """What tells a template of an effort: in its own words, or by its switch. None where it has
    neither."""
    names = names_in(template)
    told: dict[str, object] = {name: effort not in WITHOUT for name in SWITCHES if name in names}
    if EFFORT in names:
        told[EFFORT] = "low" if "<|channel|>" in template and effort in WITHOUT else effort
    return told or None
