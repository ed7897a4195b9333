"""Questions whose answers stand in documents that nobody has read: search, open, combine.

People, firms and towns are invented, so that no model knows them; a question needs one document, or
two of which the first names the second.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from liveweights.gate.suites.questions import contains
from liveweights.gate.suites.suite import Attempt, Card, Case, Model, ToolCall

CARD = Card(
    name="search",
    version="1",
    title="Find an answer in documents with a search tool, over one document or two",
    licence="CC0-1.0",
    source="written for liveweights",
    seconds=300,
    margin=0.1,
    max_tokens=192,
)
SEED = 20_261_131
PEOPLE, FIRMS, TOWNS = 30, 12, 8
TURNS = 6
SHOWN = 3
"""Documents that a search names."""
SYSTEM = (
    "Answer the question from the documents. Use the tools to search and to open them. When you"
    " know the answer, say it in one short sentence."
)
FIRST = ("Ada", "Bela", "Caro", "Dario", "Elin", "Faro", "Gita", "Hale", "Ines", "Jona")
LAST = ("Vantor", "Quill", "Marsh", "Oduya", "Prask", "Rell")
GOODS = ("clocks", "boats", "paper", "lamps", "tea", "violins")
SYLLABLES = ("ka", "lo", "mi", "ren", "su", "tor", "vel", "zan")
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "search",
            "description": "Search all documents; gives the ids and titles of those that fit best.",
            "parameters": {
                "type": "object",
                "properties": {"query": {"type": "string"}},
                "required": ["query"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "open",
            "description": "Read a document by its id.",
            "parameters": {
                "type": "object",
                "properties": {"id": {"type": "string"}},
                "required": ["id"],
            },
        },
    },
]


class Document(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Search:
    """The model works with both tools for `TURNS` turns at most; its last text has to hold the
    answer."""

    documents: Mapping[str, Document]
    all_cases: Sequence[Case]
    card: Card = CARD

    def cases(self) -> Sequence[Case]:
        return self.all_cases

    def content(self) -> bytes:
        return msgspec.json.encode(list(self.documents.values()))

    async def attempt(self, case: Case, model: Model, seed: int) -> Attempt:
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": SYSTEM},
            *(case.messages or []),
        ]
        used = 0
        last = ""
        for _ in range(TURNS):
            reply = await model.use_tools(
                messages,
                TOOLS,
                max_tokens=self.card.max_tokens,
                temperature=self.card.temperature,
                seed=seed,
            )
            if not reply.calls:
                score, _ = await contains(reply.text, case)
                return Attempt(score=score, answer=reply.text, detail=f"{used} calls")
            used += len(reply.calls)
            last = "; ".join(f"{call.name}({call.arguments})" for call in reply.calls)
            messages.append(_turn(reply.text, reply.calls))
            messages += [
                {"role": "tool", "tool_call_id": call.id, "content": self.use(call)}
                for call in reply.calls
            ]
        return Attempt(score=0.0, answer=last, detail="out of turns")

    def use(self, call: ToolCall) -> str:
        """What a call gives: JSON, or what is wrong with it in words."""
        try:
            arguments = msgspec.json.decode(call.arguments or "{}", type=dict[str, str])
        except msgspec.DecodeError:
            return "error: the arguments are no JSON object of texts"
        match call.name, arguments:
            case "search", {"query": query}:
                listed = find_documents(query, self.documents.values())
                return json.dumps([{"id": one.id, "title": one.title} for one in listed])
            case "open", {"id": id_} if id_ in self.documents:
                return self.documents[id_].text
            case "open", {"id": id_}:
                return f"error: there is no document {id_!r}"
            case _:
                return "error: the tools are search(query) and open(id)"

    async def close(self) -> None:
        pass


def find_documents(query: str, documents: Iterable[Document]) -> list[Document]:
    """At most `SHOWN`, those with the most different words of the query first."""
    words = set(re.findall(r"\w+", query.lower()))

    def fit(one: Document) -> int:
        return len(words & set(re.findall(r"\w+", f"{one.title} {one.text}".lower())))

    ranked = sorted(documents, key=lambda one: (-fit(one), one.id))
    return [one for one in ranked[:SHOWN] if fit(one)]


def make_world(seed: int = SEED) -> tuple[dict[str, Document], list[Case]]:
    """Documents about towns, firms and people, and questions about them. Those that go by way of
    one firm are a group."""
    rng = random.Random(seed)
    names = _names(rng, FIRMS + TOWNS)
    firms, towns = names[:FIRMS], names[FIRMS:]
    founded = {town: rng.randint(1100, 1900) for town in towns}
    seats = {firm: rng.choice(towns) for firm in firms}
    goods = {firm: rng.choice(GOODS) for firm in firms}
    people = rng.sample([f"{one} {other}" for one in FIRST for other in LAST], PEOPLE)
    work = {person: rng.choice(firms) for person in people}
    texts = {
        **{
            town: f"{town} is a town. It was founded in the year {founded[town]}." for town in towns
        },
        **{
            firm: f"{firm} is a firm. It makes {goods[firm]}. Its seat is in {seats[firm]}."
            for firm in firms
        },
        **{person: f"{person} works for {work[person]}." for person in people},
    }
    documents = {
        f"d{number}": Document(id=f"d{number}", title=title, text=text)
        for number, (title, text) in enumerate(texts.items())
    }
    asked = [
        *((f"For which firm does {person} work?", work[person], work[person])
          for person in people),
        *((f"What does the firm {firm} make?", goods[firm], firm) for firm in firms),
        *((f"In which town is the seat of the firm that {person} works for?", seats[work[person]],
           work[person]) for person in people),
        *((f"In which year was the town founded in which the firm {firm} has its seat?",
           str(founded[seats[firm]]), firm) for firm in firms),
    ]  # fmt: skip
    cases = [
        Case(
            id=f"q{number}",
            messages=[{"role": "user", "content": text}],
            target=target,
            group=firm,
        )
        for number, (text, target, firm) in enumerate(asked)
    ]
    return documents, cases


def open_search() -> Search:
    return Search(*make_world())


def _names(rng: random.Random, count: int) -> list[str]:
    names: dict[str, None] = {}
    while len(names) < count:
        names["".join(rng.choice(SYLLABLES) for _ in range(3)).capitalize()] = None
    return list(names)


def _turn(text: str, calls: Sequence[ToolCall]) -> dict[str, Any]:
    return {
        "role": "assistant",
        "content": text or None,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in calls
        ],
    }
