"""Wishes of a chat whose right answer is known: arithmetic, extraction and formatting. Pure.

Every family makes tasks without end from a random generator, in several phrasings. Whether an
answer is right is seen without anybody's judgement, also where a sentence is around it: people
who ask for a sum take "It is 12." They are easy: a model of a hundred million parameters has some
of most families right.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Topic = Literal["arithmetic", "extraction", "formatting"]
Blanks = Mapping[str, str | int]
Drawn = tuple[Blanks, str, tuple[str, ...]]
"""A phrasing's blanks, the answer, and what would be another one: its decoys."""
Make = Callable[[random.Random], Drawn]

_NAMES = ("Ada", "Boris", "Clara", "David", "Elena", "Frank", "Greta", "Hugo",
          "Irene", "Jonas", "Karin", "Leon", "Maria", "Nils", "Olga", "Peter", "Rosa",
          "Simon", "Tina", "Viktor")  # fmt: skip
_SURNAMES = ("Lovelace", "Adler", "Berger", "Costa", "Dorn", "Engel", "Fuchs", "Gruber", "Hansen",
             "Ivanov", "Jensen", "Keller", "Lang", "Moretti", "Novak", "Olsen", "Petrov",
             "Rossi")  # fmt: skip
_CITIES = ("Berlin", "Paris", "Madrid", "Rome", "Vienna", "Prague", "Lisbon", "Dublin", "Oslo",
           "Athens", "Warsaw", "Helsinki", "London", "Boston", "Chicago", "Denver",
           "Seattle")  # fmt: skip
_THINGS = ("book", "lamp", "chair", "bag", "clock", "jacket", "phone", "bike", "table", "camera")
_WORDS = ("apple", "lemon", "river", "garden", "winter", "summer", "window", "letter", "bread",
          "horse", "tiger", "music", "planet", "silver", "forest", "island", "bridge", "castle",
          "doctor", "flower", "orange", "pencil", "rabbit", "school", "ticket",
          "yellow")  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
           "October", "November", "December")  # fmt: skip
_ONES = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
         "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
         "eighteen", "nineteen")  # fmt: skip
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_HOSTS = ("example.com", "mail.org", "post.net", "office.io", "letters.eu")


@dataclass(frozen=True, slots=True)
class Task:
    """One wish: what the user writes, and the text that answers it; one with a ``decoys`` in it
    does not. Of a wish for a number the last one that is said counts."""

    family: str
    phrasing: int
    wish: str
    answer: str
    decoys: tuple[str, ...] = ()

    @property
    def cluster(self) -> str:
        """What tasks vary together with."""
        return f"{self.family}:{self.phrasing}"


@dataclass(frozen=True, slots=True)
class Family:
    """Tasks of one kind."""

    name: str
    topic: Topic
    phrasings: tuple[str, ...]
    make: Make

    def draw(self, draw: random.Random) -> Task:
        phrasing = draw.randrange(len(self.phrasings))
        blanks, answer, decoys = self.make(draw)
        wish = self.phrasings[phrasing].format(**blanks)
        return Task(self.name, phrasing, wish, answer, decoys)


def is_right(answer: str, task: Task) -> bool:
    """Whether the first line that is said has what was wanted, and nothing that contradicts it.

    A number is wanted where the answer is one: then the last number of the line is what is said.
    """
    line = next((line for line in answer.splitlines() if line.strip()), "")
    if task.answer.isdecimal():
        numbers = re.findall(r"\d+(?:[.,]\d+)*", line)
        return bool(numbers) and numbers[-1] == task.answer
    return _says(line, task.answer) and not any(_says(line, decoy) for decoy in task.decoys)


def _says(line: str, text: str) -> bool:
    """Whether ``text`` is in the line, and not a part of a longer word or number."""
    return re.search(rf"(?<![\w.@-]){re.escape(text)}(?![\w@-]|\.\w)", line) is not None


def split_families(
    families: Sequence[Family], seed: int = 0
) -> tuple[tuple[Family, ...], tuple[Family, ...]]:
    """Those that users ask for and those that are only measured: half of each topic, drawn by
    ``seed``; of an odd number the larger part is asked for."""
    asked, held_out = list[Family](), list[Family]()
    topics = dict.fromkeys(family.topic for family in families)
    for topic in topics:
        members = [family for family in families if family.topic == topic]
        random.Random(f"{seed}:{topic}").shuffle(members)
        cut = (len(members) + 1) // 2
        asked += members[:cut]
        held_out += members[cut:]
    return tuple(asked), tuple(held_out)


def draw_tasks(
    families: Sequence[Family], seed: str, besides: frozenset[str] = frozenset()
) -> Iterator[Task]:
    """Tasks without end, of each family in turn, with no wish that is among ``besides``, which may
    not be all of a family's; the same seed gives the same ones."""
    draw = random.Random(f"tasks:{seed}")
    while True:
        order = list(families)
        draw.shuffle(order)
        for family in order:
            task = family.draw(draw)
            while task.wish in besides:
                task = family.draw(draw)
            yield task


def choose_tasks(families: Sequence[Family], each: int, seed: str) -> list[Task]:
    """``each`` different tasks of every family. Raises ValueError where one has not that many."""
    chosen = list[Task]()
    for family in families:
        draw = random.Random(f"choose:{seed}:{family.name}")
        by_wish = dict[str, Task]()
        for _ in range(100 * each):
            task = family.draw(draw)
            by_wish.setdefault(task.wish, task)
            if len(by_wish) == each:
                break
        else:
            raise ValueError(f"the family {family.name} has no {each} different tasks")
        chosen += by_wish.values()
    return chosen


def _sum(draw: random.Random) -> Drawn:
    a, b = draw.randint(1, 20), draw.randint(1, 9)
    return {"a": a, "b": b}, str(a + b), ()


def _difference(draw: random.Random) -> Drawn:
    b, rest = draw.randint(1, 9), draw.randint(1, 12)
    return {"a": b + rest, "b": b}, str(rest), ()


def _product(draw: random.Random) -> Drawn:
    a, b = draw.randint(2, 10), draw.randint(2, 10)
    return {"a": a, "b": b}, str(a * b), ()


def _half(draw: random.Random) -> Drawn:
    half = draw.randint(1, 50)
    return {"a": 2 * half}, str(half), ()


def _email(draw: random.Random) -> Drawn:
    name, surname = draw.choice(_NAMES), draw.choice(_SURNAMES)
    email = f"{name.lower()}.{surname.lower()}@{draw.choice(_HOSTS)}"
    thing, day = draw.choice(_THINGS), draw.choice(_DAYS)
    text = draw.choice((
        f"{name} sells a {thing}. Write to {email} before {day}.",
        f"{name} {surname} ({email}) asked for the {thing} on {day}.",
        f"On {day} the {thing} was ordered by {email}.",
    ))  # fmt: skip
    return {"text": text}, email, ()


def _order(draw: random.Random) -> Drawn:
    number = f"{draw.choice('ABCDEFGH')}{draw.randint(100, 999)}"
    name, thing, day = draw.choice(_NAMES), draw.choice(_THINGS), draw.choice(_DAYS)
    text = draw.choice((
        f"Order {number} of {name} was sent on {day}: one {thing}.",
        f"{name} ordered a {thing} on {day}. The order number is {number}.",
        f"The {thing} of {name} is in order {number}, due on {day}.",
    ))  # fmt: skip
    return {"text": text}, number, ()


def _city(draw: random.Random) -> Drawn:
    name, year = draw.choice(_NAMES), draw.randint(1990, 2024)
    before, now = draw.sample(_CITIES, 2)
    text = draw.choice((
        f"{name} moved from {before} to {now} in {year}.",
        f"In {year} {name} left {before} and has lived in {now} since.",
        f"{name} grew up in {before}. Since {year} {name} lives in {now}.",
    ))  # fmt: skip
    return {"text": text, "name": name}, now, (before,)


def _price(draw: random.Random) -> Drawn:
    price, old = draw.sample(range(11, 99), 2)
    thing, day = draw.choice(_THINGS), draw.choice(_DAYS)
    text = draw.choice((
        f"The {thing} costs {price} euros now; until {day} it was {old} euros.",
        f"It was {old} euros last {day}, and today the {thing} costs {price} euros.",
        f"Since {day} the {thing} is sold for {price} euros. Before it was {old} euros.",
    ))  # fmt: skip
    return {"text": text, "thing": thing}, str(price), ()


def _upper(draw: random.Random) -> Drawn:
    # Of one word, many an answer would be a part of another.
    text = " ".join(draw.sample(_WORDS, 2))
    return {"text": text}, text.upper(), ()


def _surname_first(draw: random.Random) -> Drawn:
    name, surname = draw.choice(_NAMES), draw.choice(_SURNAMES)
    return {"text": f"{name} {surname}"}, f"{surname}, {name}", ()


def _digits(draw: random.Random) -> Drawn:
    number = draw.randint(1, 99)
    if number < len(_ONES):
        return {"text": _ONES[number]}, str(number), ()
    tens, ones = _TENS[number // 10], _ONES[number % 10]
    return {"text": f"{tens}-{ones}" if ones else tens}, str(number), ()


def _iso_date(draw: random.Random) -> Drawn:
    day, month, year = draw.randint(1, 28), draw.randrange(12), draw.randint(1980, 2029)
    return {"text": f"{day} {_MONTHS[month]} {year}"}, f"{year}-{month + 1:02}-{day:02}", ()


FAMILIES = (
    Family("sum", "arithmetic", (
        "What is {a} + {b}?",
        "Please add {a} and {b}.",
        "I have {a} stamps and get {b} more. How many stamps do I have now?",
        "How much is {a} plus {b}?",
    ), _sum),
    Family("difference", "arithmetic", (
        "What is {a} - {b}?",
        "Please subtract {b} from {a}.",
        "I had {a} stamps and gave {b} away. How many stamps are left?",
        "How much is {a} minus {b}?",
    ), _difference),
    Family("product", "arithmetic", (
        "What is {a} * {b}?",
        "Please multiply {a} by {b}.",
        "There are {a} boxes with {b} pens in each. How many pens are there?",
        "How much is {a} times {b}?",
    ), _product),
    Family("half", "arithmetic", (
        "What is {a} / 2?",
        "What is half of {a}?",
        "Two people share {a} stamps equally. How many stamps does each of them get?",
        "How much is {a} divided by 2?",
    ), _half),
    Family("email", "extraction", (
        "Which e-mail address is in this text? {text}",
        "Find the e-mail address in this text: \"{text}\"",
        "{text}\n\nWhat is the e-mail address?",
        "Copy the e-mail address from this sentence: {text}",
    ), _email),
    Family("order", "extraction", (
        "What is the order number in this text? {text}",
        "Find the order number in this text: \"{text}\"",
        "{text}\n\nWhat is the order number?",
        "Copy the order number from this sentence: {text}",
    ), _order),
    Family("city", "extraction", (
        "In which city does {name} live now? {text}",
        "Find the city in which {name} lives now: \"{text}\"",
        "{text}\n\nWhere does {name} live now?",
        "Read this: {text} Which city is {name}'s home now?",
    ), _city),
    Family("price", "extraction", (
        "How many euros does the {thing} cost now? {text}",
        "Find the present price of the {thing}: \"{text}\"",
        "{text}\n\nWhat does the {thing} cost now?",
        "Read this: {text} What is the {thing}'s price now, in euros?",
    ), _price),
    Family("upper", "formatting", (
        "Write this in capital letters: {text}",
        "Write \"{text}\" in upper case.",
        "{text}\n\nPlease write it in capitals.",
        "Convert to uppercase: {text}",
    ), _upper),
    Family("surname-first", "formatting", (
        "Write the name {text} with the surname first, then a comma and the first name.",
        "{text}\n\nPut the surname first, then a comma and the first name.",
        "Write this name as \"Surname, First name\": {text}",
        "For an index: last name, comma, first name. The name is {text}.",
    ), _surname_first),
    Family("digits", "formatting", (
        "Write {text} in digits.",
        "Which number is \"{text}\", in digits?",
        "{text}\n\nPlease write this number in digits.",
        "Convert to digits: {text}",
    ), _digits),
    Family("iso-date", "formatting", (
        "Write the date {text} as YYYY-MM-DD.",
        "{text}\n\nWrite this date in ISO format.",
        "Write {text} as year-month-day, with two digits for month and day.",
        "Convert to YYYY-MM-DD: {text}",
    ), _iso_date),
)  # fmt: skip
