"""Small tasks for a model with two tools, and the episodes in which it does them.

Half of the tasks need one look-up in a directory (``search``), half one command on a few files
(``run``). The right tool, the right word in its call, and the result told: that is success, and it
takes no judgement to see. Nothing is run: the commands of the suite are worked out here.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, Self, cast

from liveweights.catalog.template import ChatTemplate
from liveweights.engines.protocol import Sampling
from liveweights.record.example import Example
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.replay.circle import Circle, hash_of
from liveweights.serve.api.caller import Caller
from liveweights.weights.checkpoint import Checkpoint

Tool = Literal["search", "run"]
MAX_TOKENS = 40
CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
SYSTEM = "Call a tool: search(name) looks up a person, run(file) looks at a file."
PEOPLE = ("Ada", "Boris", "Clara", "David", "Elena", "Frank", "Greta", "Hugo", "Irene", "Jonas",
          "Karin", "Leon", "Maria", "Nils", "Olga", "Peter", "Rosa", "Simon", "Tina",
          "Viktor")  # fmt: skip
FILES = ("notes.txt", "report.md", "data.csv", "main.py", "todo.txt", "index.html", "log.txt",
         "setup.cfg", "letter.doc", "table.csv", "draft.md", "server.log", "photo.png", "test.py",
         "budget.xls", "slides.pdf", "backup.zip", "script.sh", "config.ini",
         "readme.md")  # fmt: skip
WISHES: dict[Tool, tuple[str, ...]] = {
    "search": (
        "What is the phone number of {0}?",
        "Which room does {0} work in?",
        "What is the staff number of {0}?",
        "I need the extension of {0}.",
        "Where does {0} sit? Tell me the number of the room.",
        "How many days has {0} been with us?",
    ),
    "run": (
        "How many lines does {0} have?",
        "What is the size of {0} in bytes?",
        "How many words are in {0}?",
        "Count the characters of {0}.",
        "How many times does {0} say 'error'?",
        "What is the line count of {0}?",
    ),
}
HELD_OUT = 6
"""People and files that only held-out tasks are about."""


@dataclass(frozen=True, slots=True)
class Errand:
    """``subject`` has to be in the call of ``tool``, and ``answer`` in the last step."""

    tool: Tool
    phrasing: int
    subject: str
    answer: str

    @property
    def wish(self) -> str:
        return WISHES[self.tool][self.phrasing].format(self.subject)

    @property
    def cluster(self) -> str:
        return f"{self.tool}:{self.phrasing}"


@dataclass(frozen=True, slots=True)
class Done:
    """What became of an errand: the answers of its steps, and whether it was done."""

    errand: Errand
    steps: tuple[Generation, ...]
    called: bool
    """Whether the first step called the right tool with the right word."""
    success: bool


def draw_errands(seed: str, *, held_out: bool) -> Iterator[Errand]:
    """Without end, of all phrasings in turn, of both tools alike."""
    draw = random.Random(seed)
    while True:
        for phrasing in range(len(WISHES["run"])):
            for tool in ("search", "run"):
                names = PEOPLE if tool == "search" else FILES
                names = names[-HELD_OUT:] if held_out else names[:-HELD_OUT]
                yield Errand(tool, phrasing, draw.choice(names), str(draw.randrange(1000, 9999)))


def read_call(text: str) -> tuple[str, str] | None:
    """Name and arguments of the first call, None where there is none that can be read."""
    match = CALL.search(text)
    try:
        call: Any = json.loads(match[1]) if match else None
    except ValueError:
        return None
    if not isinstance(call, dict):
        return None
    fields = cast(dict[str, Any], call)
    name, given = fields.get("name"), fields.get("arguments")
    return (name, json.dumps(given)) if isinstance(name, str) else None


@dataclass
class Office:
    """A circle whose model runs errands; an async context manager, for the model's template."""

    circle: Circle
    temperature: float = 0.7

    async def __aenter__(self) -> Self:
        self._template = ChatTemplate(self.circle.tokenizer)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._template.close()

    async def work(self, errands: Sequence[Errand], name: str) -> list[Done]:
        """As users see it: sampled, by the live checkpoint."""
        return await self._all(errands, name, self.circle.live, self.temperature)

    async def measure(self, errands: Sequence[Errand]) -> list[Done]:
        """Greedily, by the live checkpoint."""
        return await self._all(errands, "measure", self.circle.live, 0.0)

    async def _all(
        self, errands: Sequence[Errand], name: str, checkpoint: Checkpoint, temperature: float
    ) -> list[Done]:
        done: dict[int, Done] = {}
        waiting = iter(enumerate(errands))

        async def work() -> None:
            for place, errand in waiting:
                done[place] = await self._run(errand, f"{name}-{place}", checkpoint, temperature)

        async with asyncio.TaskGroup() as group:
            for _ in range(self.circle.developers):
                group.create_task(work())
        return [done[place] for place in range(len(errands))]

    async def _run(
        self, errand: Errand, episode: str, checkpoint: Checkpoint, temperature: float
    ) -> Done:
        caller = Caller(
            tenant="default",
            user=f"user-{hash_of(episode) % 8}",
            session=episode,
            surface="agent",
            language="english",
            consent=True,
            metadata={"episode": episode},
        )

        async def step(messages: list[dict[str, Any]]) -> Generation:
            text = await self._template.render(messages, None)
            ids = list(self.circle.tokenizer(text, add_special_tokens=False).input_ids)
            sampling = Sampling(max_tokens=MAX_TOKENS, temperature=temperature)
            return await self.circle.answer(checkpoint, "chat", ids, sampling, caller=caller)

        messages = [*EXAMPLES, {"role": "user", "content": errand.wish}]
        first = await step(messages)
        call = read_call(first.output)
        if call is None:
            return Done(errand, (first,), called=False, success=False)
        called = call[0] == errand.tool and errand.subject in call[1]
        result = errand.answer if called else "nothing found"
        messages += [
            {"role": "assistant", "content": first.output},
            {"role": "user", "content": f"Result: {result}"},
        ]
        last = await step(messages)
        return Done(errand, (first, last), called, called and errand.answer in last.output)


def outcome_of(done: Done, episode: str) -> list[Example]:
    """The steps with what a user says of the whole: that it was done, or that it was not."""
    now = datetime.now(UTC)
    said = Feedback(
        id=episode,
        generation="",
        signal="reward",
        value=1.0 if done.success else -1.0,
        received_at=now,
        episode=episode,
    )
    return [
        Example(step, (replace(said, id=f"{episode}/{step.id}", generation=step.id),))
        for step in done.steps
    ]


def share(done: Sequence[Done], tool: Tool | None = None) -> float:
    of = [one.success for one in done if tool in (None, one.errand.tool)]
    return sum(of) / len(of)


def shares(done: Sequence[Done]) -> Mapping[str, float]:
    """Of all errands done, of those for each tool, and of right calls."""
    return {
        "success": share(done),
        "search": share(done, "search"),
        "run": share(done, "run"),
        "right_call": sum(one.called for one in done) / len(done),
    }


def _told(wish: str, tool: Tool, subject: str, answer: str) -> list[dict[str, Any]]:
    """An errand that was done, as messages."""
    call = json.dumps({"name": tool, "arguments": {"of": subject}})
    return [
        {"role": "user", "content": wish},
        {"role": "assistant", "content": f"<tool_call>{call}</tool_call>"},
        {"role": "user", "content": f"Result: {answer}"},
        {"role": "assistant", "content": answer},
    ]


EXAMPLES: tuple[dict[str, Any], ...] = (
    {"role": "system", "content": SYSTEM},
    *_told("What is the phone number of Zoe?", "search", "Zoe", "5120"),
    *_told("How many lines does old.txt have?", "run", "old.txt", "3077"),
    *_told("How many words are in code.c?", "run", "code.c", "2219"),
    *_told("Which room does Max work in?", "search", "Max", "8134"),
)
