"""Small programs in several languages, run in the sandbox on inputs that the model never saw."""

from __future__ import annotations

import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from liveweights.gate.sandbox import Limits, Sandbox
from liveweights.gate.suites.questions import ask
from liveweights.gate.suites.suite import Attempt, Card, Case, Model

CARD = Card(
    name="polyglot",
    version="1",
    title="Programs in Python, Bash, AWK and Perl that turn lines into lines; outputs decide",
    licence="CC0-1.0",
    source="written for liveweights",
    seconds=120,
    margin=0.05,
    max_tokens=384,
)
LANGUAGES = ("Python", "Bash", "AWK", "Perl")
PROGRAMS = ("bash", "awk", "perl")
LIMITS = Limits(seconds=10, memory=256 * 1024 * 1024, processes=16)
SEED = 20_261_132
LONGEST = 100_000
"""Bytes of a program, which is passed as an argument; the kernel takes less than 131,072."""
TRIALS = 4
"""Inputs that each program is run on; all have to come out right."""
ASK = (
    "Write a {language} program that reads lines from standard input. {task} Answer with one code"
    " block and nothing else."
)
BLOCK = re.compile(r"```[\w+#-]*[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)
WORDS = ("ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "yew")

Lines = list[str]
Exercise = tuple[str, str, Callable[[random.Random], Lines], Callable[[Lines], Lines]]
"""Name, what is asked, what makes an input, and what the output has to be."""


def _numbers(rng: random.Random) -> Lines:
    return [str(rng.randint(-50, 99)) for _ in range(rng.randint(1, 12))]


def _texts(rng: random.Random) -> Lines:
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 5))) for _ in range(rng.randint(1, 8))]


def _single(rng: random.Random) -> Lines:
    return [str(rng.randint(1, 40))]


def _pairs(rng: random.Random) -> Lines:
    return [f"{rng.choice(WORDS)},{rng.randint(1, 90)}" for _ in range(rng.randint(1, 9))]


def _count_words(lines: Lines) -> Lines:
    counts = Counter(word for line in lines for word in line.split())
    return [f"{word} {count}" for word, count in sorted(counts.items())]


def _totals(lines: Lines) -> Lines:
    totals: Counter[str] = Counter()
    for line in lines:
        name, _, number = line.partition(",")
        totals[name] += int(number)
    return [f"{name}={total}" for name, total in sorted(totals.items())]


def _fizz(lines: Lines) -> Lines:
    return [
        ("Fizz" if n % 3 == 0 else "") + ("Buzz" if n % 5 == 0 else "") or str(n)
        for n in range(1, int(lines[0]) + 1)
    ]


EXERCISES: tuple[Exercise, ...] = (
    ("sum", "Every line is a whole number. Print their sum.", _numbers,
     lambda lines: [str(sum(map(int, lines)))]),
    ("largest", "Every line is a whole number. Print the largest.", _numbers,
     lambda lines: [str(max(map(int, lines)))]),
    ("evens", "Every line is a whole number. Print those that are even, in their order.", _numbers,
     lambda lines: [line for line in lines if int(line) % 2 == 0]),
    ("reverse", "Print every line with its characters in reverse.", _texts,
     lambda lines: [line[::-1] for line in lines]),
    ("upper", "Print every line in capital letters.", _texts,
     lambda lines: [line.upper() for line in lines]),
    ("words", "Print how many words there are in all lines together.", _texts,
     lambda lines: [str(sum(len(line.split()) for line in lines))]),
    ("unique", "Print every line the first time that it comes, and not again.", _texts,
     lambda lines: list(dict.fromkeys(lines))),
    ("numbered", "Print every line with its number before it, as '1: text', from 1 on.", _texts,
     lambda lines: [f"{number}: {line}" for number, line in enumerate(lines, 1)]),
    ("last", "Print the last word of every line.", _texts,
     lambda lines: [line.split()[-1] for line in lines]),
    ("counts", "Print every word and how often it comes in all lines, as 'word 3', sorted by the"
     " word.", _texts, _count_words),
    ("totals", "Every line is 'name,number'. Print the total of each name as 'name=total', sorted"
     " by the name.", _pairs, _totals),
    ("fizzbuzz", "The line is a number N. Print the numbers from 1 to N, a line each, but Fizz for"
     " multiples of 3, Buzz for multiples of 5, and FizzBuzz for multiples of both.", _single,
     _fizz),
)  # fmt: skip


def missing() -> str | None:
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"`apt-get install {' '.join(lacking)}`" if lacking else None


def read_cases() -> list[Case]:
    """Every exercise in every language, with `TRIALS` inputs and their outputs as the target."""
    cases: list[Case] = []
    for name, task, make, solve in EXERCISES:
        rng = random.Random(f"{SEED}/{name}")
        inputs = [make(rng) for _ in range(TRIALS)]
        cases += [
            Case(
                id=f"{name}/{language.lower()}",
                messages=[{"role": "user", "content": ASK.format(language=language, task=task)}],
                target=[[lines, solve(lines)] for lines in inputs],
                group=name,
            )
            for language in LANGUAGES
        ]
    return cases


@dataclass(frozen=True, slots=True)
class Polyglot:
    sandbox: Sandbox
    all_cases: Sequence[Case]
    card: Card = CARD

    def cases(self) -> Sequence[Case]:
        return self.all_cases

    def content(self) -> bytes:
        return b""

    async def attempt(self, case: Case, model: Model, seed: int) -> Attempt:
        return await self.check(case, await ask(self.card, case, model, seed))

    async def check(self, case: Case, answer: str) -> Attempt:
        """1 if the output is right on every input, but for blanks at the ends of lines."""
        block = BLOCK.search(answer)
        program = block.group(1) if block else answer
        if "\0" in program or len(program.encode()) > LONGEST:
            return Attempt(score=0.0, answer=answer, detail="no program: NUL, or too long")
        for lines, expected in case.target:
            outcome = await self.sandbox.run(
                self._command(case.id.rpartition("/")[2], program),
                stdin="".join(f"{line}\n" for line in lines).encode(),
                limits=LIMITS,
            )
            if not outcome.ok:
                return Attempt(score=0.0, answer=answer, detail=outcome.fault("failed"))
            printed = outcome.stdout.decode(errors="replace").rstrip().splitlines()
            if [line.rstrip() for line in printed] != expected:
                return Attempt(score=0.0, answer=answer, detail="another output")
        return Attempt(score=1.0, answer=answer)

    def _command(self, language: str, program: str) -> list[str]:
        return {
            "python": [self.sandbox.python, "-I", "-c", program],
            "bash": ["bash", "-c", program],
            "awk": ["awk", program],
            "perl": ["perl", "-e", program],
        }[language]

    async def close(self) -> None:
        pass
