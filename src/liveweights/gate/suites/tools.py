"""Which tool, with which arguments, how often, and when none: questions made by a program."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from liveweights.gate.suites.calls import Calls, Question
from liveweights.gate.suites.suite import Card

CARD = Card(
    name="tools",
    version="1",
    title="Call the right tool with the right arguments, several, or none",
    licence="CC0-1.0",
    source="written for liveweights",
    seconds=120,
    margin=0.05,
    max_tokens=192,
)
SEED = 20_261_130
EACH = 25
"""Questions of every kind."""
Values = dict[str, list[Any]]
Tool = tuple[str, str, str, Values]
"""Name, description, a request with its arguments in braces, and what each may be."""
TOOLS: tuple[Tool, ...] = (
    ("get_weather", "Tell the weather in a city.", "What is the weather like in {city}?",
     {"city": ["Lisbon", "Oslo", "Nairobi", "Lima", "Hanoi", "Quito"]}),
    ("set_timer", "Start a timer.", "Set a timer for {minutes} minutes.",
     {"minutes": [3, 5, 8, 12, 20, 45]}),
    ("convert_currency", "Convert an amount of money from one currency to another.",
     "How much are {amount} {source} in {target}?",
     {"amount": [20, 75, 150, 900], "source": ["EUR", "JPY", "CHF"], "target": ["USD", "GBP"]}),
    ("translate", "Translate a word into a language.", "How do you say '{word}' in {language}?",
     {"word": ["bread", "river", "window"], "language": ["French", "Polish", "Swahili"]}),
    ("play_song", "Play a song by its title.", "Please play the song '{title}'.",
     {"title": ["Yesterday", "Halo", "Thriller", "Imagine"]}),
    ("get_stock_price", "Tell the price of a share by its symbol.",
     "What does a share with the symbol {symbol} cost?", {"symbol": ["AAPL", "NVDA", "SAP", "TM"]}),
    ("set_light", "Switch the light of a room on or off.", "Turn {state} the light in the {room}.",
     {"state": ["on", "off"], "room": ["kitchen", "bedroom", "garage"]}),
    ("create_event", "Put an event into the calendar.",
     "Put '{title}' into my calendar on {day} at {hour} o'clock.",
     {"title": ["dentist", "choir", "swimming"], "day": ["Monday", "Friday"], "hour": [9, 14, 18]}),
    ("find_restaurant", "Find a restaurant of a cuisine in a city.",
     "Find me a {cuisine} restaurant in {city}.",
     {"cuisine": ["Thai", "Greek", "Ethiopian"], "city": ["Berlin", "Porto", "Osaka"]}),
    ("count_words", "Count the words of a text.", "How many words has the text '{text}'?",
     {"text": ["to be or not to be", "the cat sat", "all is well that ends well"]}),
)  # fmt: skip
IDLE = (
    "Who wrote the play about the prince of Denmark?",
    "Explain in one sentence why the sky is blue.",
    "Give me a name for a small brown dog.",
    "What is the plural of mouse?",
    "Say hello to my grandmother.",
    "Why do leaves fall in autumn?",
)
"""What no tool is needed for."""


def read_questions() -> dict[str, Question]:
    """`EACH` of four kinds: one tool, one of four, two calls, and none that fits. Those with the
    same first call, or the same words, are a group."""
    questions = [
        *_make("simple", offered=1, calls=1),
        *_make("multiple", offered=4, calls=1),
        *_make("parallel", offered=2, calls=2),
        *_idle(),
    ]
    return {one.id: one for one in questions}


def _make(kind: str, *, offered: int, calls: int) -> Iterator[Question]:
    rng = random.Random(f"{SEED}/{kind}")
    seen: set[str] = set()
    while len(seen) < EACH:
        tools = rng.sample(TOOLS, offered)
        asked = [_fill(tool, rng) for tool in rng.sample(tools, calls)]
        text = " ".join(request for request, _ in asked)
        if text in seen:
            continue
        seen.add(text)
        yield Question(
            id=f"{kind}/{len(seen) - 1}",
            messages=[{"role": "user", "content": text}],
            tools=[describe(tool) for tool in tools],
            expected=[expected for _, expected in asked],
            group=next(iter(asked[0][1])),
        )


def _idle() -> Iterator[Question]:
    rng = random.Random(f"{SEED}/irrelevance")
    for number in range(EACH):
        yield Question(
            id=f"irrelevance/{number}",
            messages=[{"role": "user", "content": IDLE[number % len(IDLE)]}],
            group=f"irrelevance/{number % len(IDLE)}",
            tools=[describe(tool) for tool in rng.sample(TOOLS, 2)],
            expected=[],
        )


def _fill(tool: Tool, rng: random.Random) -> tuple[str, dict[str, dict[str, list[Any]]]]:
    name, _, request, values = tool
    chosen = {argument: rng.choice(options) for argument, options in values.items()}
    right = {argument: [value] for argument, value in chosen.items()}
    return request.format(**chosen), {name: right}


def describe(tool: Tool) -> dict[str, Any]:
    """As OpenAI writes a function."""
    name, description, _, values = tool
    properties = {
        argument: {"type": "integer" if isinstance(options[0], int) else "string"}
        for argument, options in values.items()
    }
    parameters = {"type": "object", "properties": properties, "required": list(values)}
    function = {"name": name, "description": description, "parameters": parameters}
    return {"type": "function", "function": function}


def open_tools() -> Calls:
    return Calls(CARD, read_questions())
