"""Who uses the product in the headline: developers who type, and people who chat.

Each use has the same steps: look at a checkpoint where nobody learns from it, be used for some
requests, and compare two looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import _npm
from _looks import Looks
from _rows import Row
from liveweights.record.example import Example
from liveweights.replay.asker import Manners
from liveweights.replay.chat import Answers, Conversations, compare_answers
from liveweights.replay.circle import Circle, clicks_only, with_corrections
from liveweights.replay.corpus import Corpus
from liveweights.replay.goals import Goal, chat_goals, completion_goals
from liveweights.replay.measure import Measurement, choose
from liveweights.replay.relative import kept, relative_changes, withheld
from liveweights.replay.settings import MeasureSettings
from liveweights.replay.tasks import FAMILIES, choose_tasks, draw_tasks, split_families
from liveweights.replay.traffic import sessions

SEED = 0
HELD_OUT_SCRIPTS = 0.3
"""Share of the TypeScript packages that nobody types: there are few of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Of a run. ``files`` are held-out ones, six positions each; ``watched`` of them are looked at
    after every cycle. ``tasks`` are those of each family that a chat is measured on."""

    cycles: int
    requests: int
    files: int
    watched: int
    tasks: int


@dataclass(frozen=True, slots=True)
class Used:
    """What some requests came to: ``good`` of ``shown`` answers were what the user wanted."""

    examples: list[Example]
    shown: int
    good: int
    follow_ups: dict[str, list[int]] = field(default_factory=dict[str, list[int]])


class Users(Protocol):
    async def __aenter__(self) -> Any: ...

    async def __aexit__(self, *error: Any) -> None: ...

    async def use(self, requests: int) -> Used:
        """So many requests of the live checkpoint, with reactions."""
        ...

    async def look(self, whole: bool) -> Any:
        """What the live checkpoint does where nobody learns from it: everywhere, or at the places
        that are watched."""
        ...

    def watch(self, incumbent: Any, candidate: Any) -> dict[str, Any]:
        """Figures of one cycle, from two looks."""
        ...

    def compare(self, base: Any, last: Any) -> dict[str, Any]: ...

    def goals(self, found: Mapping[str, Any], cycles: Sequence[Mapping[str, Any]]) -> list[Goal]:
        """What ``compare`` found, and every cycle's figures, against what they have to be."""
        ...


class Developers:
    """They type files of packages; measured where nobody typed."""

    def __init__(
        self, row: Row, sizes: Sizes, circle: Circle, *, cache: Path, looks: Looks
    ) -> None:
        if row.language == "python":
            split = Corpus.find().split(SEED)
        else:
            found = _npm.find_corpus(cache)
            split = found.split(SEED, held_out_packages=HELD_OUT_SCRIPTS)
        self._row, self._circle, self._looks = row, circle, looks
        self._react = with_corrections if row.signals == "corrections" else clicks_only
        self._typed = sessions(split.training, circle.traffic)
        unseen = split.held_out_packages
        self._places = choose(unseen, sizes.files, MeasureSettings(), circle.traffic)
        self._watched = sizes.watched * MeasureSettings().positions

    async def __aenter__(self) -> Developers:
        return self

    async def __aexit__(self, *error: Any) -> None:
        pass

    async def use(self, requests: int) -> Used:
        examples = await self._circle.type(self._typed, requests, self._react)
        shown = [e for e in examples if e.generation.output.strip()]
        taken = sum(any(f.signal == "accepted" for f in e.feedback) for e in shown)
        return Used(examples, len(shown), taken)

    async def look(self, whole: bool) -> Measurement:
        places = self._places if whole else self._places[: self._watched]
        circle = self._circle
        look = partial(circle.measure, circle.live, places)
        if circle.live is not circle.base:
            return await look()
        most = circle.traffic.max_tokens
        return await self._looks.find(self._row, places, look, base=circle.base.id, max_tokens=most)

    def watch(self, incumbent: Measurement, candidate: Measurement) -> dict[str, Any]:
        before = incumbent.outcomes[: self._watched]
        after = candidate.outcomes[: self._watched]
        held, same = withheld(before, after), kept(before, after)
        return {
            "withheld": held.as_dict()["mean"],
            "withheld_interval": [held.low, held.high],
            "kept": same.as_dict()["mean"],
            "kept_interval": [same.low, same.high],
        }

    def compare(self, base: Measurement, last: Measurement) -> dict[str, Any]:
        files = [place.file for place in base.positions]
        changes = relative_changes(base.outcomes, last.outcomes, files)
        return {
            "positions": len(files),
            "files": len(set(files)),
            "base": _counts(base),
            "last": _counts(last),
            "changes": changes.as_dict(),
        }

    def goals(self, found: Mapping[str, Any], cycles: Sequence[Mapping[str, Any]]) -> list[Goal]:
        return completion_goals(found["changes"], cycles, self._circle.settings, self._circle.gate)


class People:
    """They ask a chat for what can be checked; measured on new tasks of the families that they ask
    for, and on families that they do not."""

    def __init__(self, row: Row, sizes: Sizes, circle: Circle) -> None:
        asked, held_out = split_families(FAMILIES, SEED)
        seed = f"headline-{SEED}"
        self._circle = circle
        self._asked = choose_tasks(asked, sizes.tasks, seed)
        self._held_out = choose_tasks(held_out, sizes.tasks, seed)
        measured = frozenset(task.wish for task in self._asked)
        self._tasks = draw_tasks(asked, seed, measured)
        edit = Manners().edit if row.signals == "corrections" else 0.0
        self._people = Conversations(circle, Manners(edit=edit))

    async def __aenter__(self) -> People:
        await self._people.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await cast(Any, self._people).__aexit__(*error)

    async def use(self, requests: int) -> Used:
        said = await self._people.talk(self._tasks, requests)
        return Used(said.examples, len(said.right), sum(said.right.values()), said.follow_ups)

    async def look(self, whole: bool) -> tuple[Answers, Answers] | None:
        """Of families that are asked for, and of those that are not; nothing is watched."""
        if not whole:
            return None
        live = self._circle.live
        asked = await self._people.ask(live, self._asked)
        return asked, await self._people.ask(live, self._held_out)

    def watch(self, incumbent: Any, candidate: Any) -> dict[str, Any]:
        del incumbent, candidate
        return {}

    def compare(
        self, base: tuple[Answers, Answers], last: tuple[Answers, Answers]
    ) -> dict[str, Any]:
        names = ("asked", "held_out")
        found: dict[str, Any] = {}
        for name, before, after in zip(names, base, last, strict=True):
            found[name] = compare_answers(before, after, self._circle.rewards).as_dict()
            found[name]["families"] = families(before, after)
        return found

    def goals(self, found: Mapping[str, Any], cycles: Sequence[Mapping[str, Any]]) -> list[Goal]:
        return chat_goals(found["asked"], found["held_out"], cycles, self._circle.settings)


def families(base: Answers, last: Answers) -> dict[str, list[float]]:
    """Each family's share of right answers, base and last."""
    found: dict[str, list[float]] = {}
    for name in dict.fromkeys(task.family for task in base.tasks):
        chosen = [n for n, task in enumerate(base.tasks) if task.family == name]
        found[name] = [sum(one.right[n] for n in chosen) / len(chosen) for one in (base, last)]
    return found


def _counts(measurement: Measurement) -> dict[str, int]:
    outcomes = measurement.outcomes
    accepted, rejected = outcomes.count("accepted"), outcomes.count("rejected")
    return {"shown": accepted + rejected, "accepted": accepted}
