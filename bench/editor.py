"""How soon an editor shows a suggestion, and whether typing in it teaches what the replay teaches.

The same keystrokes go through ``liveweights lsp``, driven by a client of the protocol, and through
the replay client, at one service with the packaged model that learns nothing meanwhile. Both ask
at temperature 0 for the same places, so that both get the same suggestions; a developer takes what
is what the file has, and writes on otherwise. Compared are the answers, the rows of feedback, the
rewards, and the rows that an update would be made of; with --learn also what the same update makes
of either's rows, beside the base, where nobody typed. A developer types some 200 keystrokes a
minute.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg

from _lessons import learn_from
from _models import PACKAGED, find_model
from _report import arguments, finish, table
from liveweights.config import Config
from liveweights.learn.baseline import Baseline
from liveweights.learn.rewards import RewardMap, reward
from liveweights.learn.rows import build_rows
from liveweights.learn.settings import LearnSettings
from liveweights.record.episodes import read_examples
from liveweights.record.example import Example
from liveweights.replay.client import Client
from liveweights.replay.corpus import Corpus, Split
from liveweights.replay.developer import Position, judge
from liveweights.replay.service import Service, free_port, write_config
from liveweights.replay.settings import TrafficSettings
from liveweights.replay.traffic import list_reactions, sessions
from liveweights.store.embedded import EmbeddedPostgres
from liveweights.weights.models import load_tokenizer

sys.path.append(str(Path(__file__).parents[1]))
from tests.editor.editor import Editor, language_server

MODEL, EDITOR, REPLAY = "code", "editor", "replay"
NEVER = {"every": 1e6, "min_feedback": 1_000_000}
WANTED_MS = 300.0
PACE = 200
"""Keystrokes a minute."""
DEBOUNCE = 0.075
"""The editor's own default, which is part of what a developer waits for."""
TYPED, BURST = 16, 0.15
"""Characters that are typed at once before each place, and seconds between two of them."""
SETTLE = 0.2
"""Seconds until it is told what is left of an accepted suggestion; 30 for people."""


def choose(split: Split, count: int) -> list[Position]:
    """Places of several files, each asked for once."""
    settings = TrafficSettings()
    found: dict[str, Position] = {}
    for places in islice(sessions(split.training, settings), 4 * count):
        for place in places[: settings.session_positions // 2]:
            found.setdefault(place.prompt, place)
        if len(found) >= count:
            break
    return list(found.values())[:count]


def count_keystrokes(split: Split, places: Sequence[Position]) -> int:
    """Characters of the files from the line of the first place of each to the end of its last."""
    texts = {file.name: file.text.splitlines(keepends=True) for file in split.training}
    lines: dict[str, list[int]] = {}
    for place in places:
        lines.setdefault(place.file, []).append(place.line)
    return sum(
        len("".join(texts[file][min(typed) - 1 : max(typed)])) for file, typed in lines.items()
    )


async def type_in_editor(
    url: str, places: Sequence[Position], folder: Path, *, user: str, typed: int
) -> list[float]:
    """Seconds from the last keystroke before each place to what is shown there. The last ``typed``
    characters are typed, each of them a request as editors send it, which the next one cancels;
    what stands before them was in the file when it was opened."""
    settings: dict[str, Any] = {
        "url": url,
        "model": MODEL,
        "user": user,
        "temperature": 0.0,
        "timeout": 60.0,
        "debounce": DEBOUNCE,
        "settle": SETTLE,
        "maxTokens": TrafficSettings().max_tokens,
    }
    waited: list[float] = []
    async with language_server(folder, **settings) as client:
        for number, place in enumerate(places):
            editor = Editor(client, folder / f"{user}{number}.py", place.prompt[:-typed])
            editor.open()
            early = list[asyncio.Task[str]]()
            for letter in place.prompt[-typed:-1]:
                editor.type(letter)
                early.append(asyncio.create_task(editor.ask()))
                await asyncio.sleep(BURST)
            began = time.perf_counter()
            editor.type(place.prompt[-1])
            suggestion = await editor.ask()
            waited.append(time.perf_counter() - began)
            await asyncio.gather(*early)
            if judge(suggestion, place.expected) == "accepted":
                await editor.take()
                editor.type("\n")
            else:
                editor.type(place.correction)
            await asyncio.sleep(2 * SETTLE)
            editor.close()
        assert not client.logged, client.logged
    return waited


async def type_in_replay(url: str, places: Sequence[Position]) -> list[float]:
    """Seconds of each request."""
    waited: list[float] = []
    async with Client(url) as client:
        for number, place in enumerate(places):
            suggestion = await client.complete(
                place.prompt,
                model=MODEL,
                temperature=0.0,
                max_tokens=TrafficSettings().max_tokens,
                session=f"file{number}",
                user=REPLAY,
            )
            waited.append(suggestion.seconds)
            outcome = judge(suggestion.text, place.expected)
            await client.feedback(suggestion.generation, *list_reactions(outcome, place))
    return waited


async def examples_of(dsn: str, user: str) -> list[Example]:
    """What one user was told at each place, in their order: of the answers in the session of a
    file the last that was spoken of, or the last."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        cursor = await conn.execute(
            "select id from recorded where user_id = %s order by created_at, id", (user,)
        )
        examples = await read_examples(conn, [id for (id,) in await cursor.fetchall()])
    sessions: dict[str | None, list[Example]] = {}
    for example in sorted(examples, key=lambda e: (e.generation.created_at, e.generation.id)):
        sessions.setdefault(example.generation.session, []).append(example)
    return [
        max(enumerate(own), key=lambda one: (bool(one[1].feedback), one[0]))[1]
        for own in sessions.values()
    ]


def said(example: Example, without: frozenset[str] = frozenset()) -> list[tuple[str, str | None]]:
    return sorted(
        ((f.signal, f.text) for f in example.feedback if f.signal not in without),
        key=lambda one: (one[0], one[1] or ""),
    )


def learnt(examples: Sequence[Example], tokenizer: Any) -> Counter[str]:
    """The rows of an update without whose they are."""

    def encode(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    rows = build_rows(examples, Baseline({}, {}), RewardMap(), LearnSettings(), encode=encode)
    return Counter(
        json.dumps([row.role, list(row.prompt_ids), list(row.answer_ids), round(row.weight, 6)])
        for row in rows.rows
    )


def compare(mine: Sequence[Example], other: Sequence[Example]) -> dict[str, Any]:
    """The editor's against the replay's. Their texts are compared up to the end of the suggestion:
    what is typed as it was suggested needs no further request, and the editor makes none."""
    tokenizer = load_tokenizer(find_model(PACKAGED, Config().cache_folder()))

    def text(example: Example) -> str:
        g = example.generation
        return tokenizer.decode(list(g.prompt_ids)) + g.healed + g.output

    pairs = list(zip(mine, other, strict=True))
    same = [(a, b) for a, b in pairs if text(a) == text(b)]
    rewards = [
        tuple(worth.value if (worth := _reward(one)) is not None else None for one in (a, b))
        for a, b in same
    ]
    kept = frozenset(("edited",))
    ours, theirs = (learnt([pair[side] for pair in same], tokenizer) for side in (0, 1))
    return {
        "places": len(pairs),
        "asked with the same prompt": sum(
            a.generation.prompt_ids == b.generation.prompt_ids for a, b in pairs
        ),
        "same answer": len(same),
        "same rows": sum(said(a) == said(b) for a, b in same),
        "same rows but what survived": sum(said(a, kept) == said(b) for a, b in same),
        "same reward": sum(a == b for a, b in rewards),
        "rows of an update, editor": ours.total(),
        "rows of an update, replay": theirs.total(),
        "rows of an update, equal": (ours & theirs).total(),
        "signals, editor": dict(Counter(f.signal for a, _ in same for f in a.feedback)),
        "signals, replay": dict(Counter(f.signal for _, b in same for f in b.feedback)),
        "rewards": sorted({json.dumps(one) for one in rewards}),
    }


def _reward(example: Example) -> Any:
    g = example.generation
    return reward(g.output, example.feedback, RewardMap(), completed=g.completed_at)


def percentile(seconds: Sequence[float], share: float) -> float:
    ordered = sorted(seconds)
    return 1000 * ordered[int(share * (len(ordered) - 1))] if ordered else float("nan")


async def run(count: int, measured: int) -> dict[str, Any]:
    """``measured`` are the held-out files in which what is learnt is measured; 0: nothing is."""
    split = Corpus.find().split(0)
    chosen = choose(split, count + count // 4)
    places, others = chosen[:count], chosen[count:]
    with tempfile.TemporaryDirectory(prefix="liveweights-editor-") as folder:
        home, files = Path(folder) / "home", Path(folder) / "files"
        files.mkdir()
        config = Path(folder) / "settings.toml"
        write_config(config, {"alias": MODEL, "cycle": NEVER})
        service = Service(home, config, free_port(), Path(folder) / "log")
        try:
            async with Client(service.url) as client:
                await service.wait(client, 300)
            # The first requests warm caches up; they are of another user.
            await type_in_replay(service.url, places[:2])
            load = os.getloadavg()[0]
            opened = await type_in_editor(service.url, others, files, user="opened", typed=1)
            edited = await type_in_editor(service.url, places, files, user=EDITOR, typed=TYPED)
            asked = await type_in_replay(service.url, places)
            dsn = await asyncio.to_thread(EmbeddedPostgres(home / "postgres").start)
            mine = await examples_of(dsn, EDITOR)
            other = await examples_of(dsn, REPLAY)
        finally:
            await asyncio.to_thread(service.stop)
        # In the order of the places, so that the same ones are held back.
        sides = {"editor": mine, "replay": other}
        lessons = await learn_from(sides, Path(folder) / "lessons", measured) if measured else {}
    keystrokes = count_keystrokes(split, places)
    figures: dict[str, Any] = {
        "places": len(places),
        "keystrokes": keystrokes,
        "minutes": round(keystrokes / PACE),
        "cores": os.cpu_count(),
        "load before": round(load, 2),
        "editor_ms": {"p50": percentile(edited, 0.5), "p95": percentile(edited, 0.95)},
        "opened_ms": {"p50": percentile(opened, 0.5), "p95": percentile(opened, 0.95)},
        "request_ms": {"p50": percentile(asked, 0.5), "p95": percentile(asked, 0.95)},
        "compared": compare(mine, other),
    }
    if lessons:
        figures["learnt"] = {name: lesson.as_dict() for name, lesson in lessons.items()}
        figures["same checkpoint"] = len({one.checkpoint for one in lessons.values()}) == 1
    figures["wanted"] = figures["editor_ms"]["p50"] < WANTED_MS
    return figures


def show_base(base: Mapping[str, Any]) -> tuple[str | float, ...]:
    return "nobody: the base", base["reward"], "", "", f"{base['accepted']} of {base['shown']}"


def show_lesson(name: str, lesson: Mapping[str, Any]) -> tuple[str | float, ...]:
    last, more = lesson["last"], lesson["reward_diff"]
    reach = f"{more['low']:+.3f} to {more['high']:+.3f}" if more["low"] is not None else "–"
    return name, last["reward"], more["mean"], reach, f"{last['accepted']} of {last['shown']}"


def main() -> None:
    options = arguments(
        __doc__ or "",
        places=(120, "places at which is asked"),
        learn=(False, "also learn from both sides' rows, and measure what comes of it"),
        files=(100, "held-out files that it is measured in, six places each"),
    )
    if options.quick:
        options.places, options.files = 8, 4
    figures = asyncio.run(run(options.places, options.files if options.learn else 0))
    table(
        f"{figures['places']} places, {figures['cores']} cores, load {figures['load before']}",
        ("milliseconds", "p50", "p95"),
        [
            ("from keystroke to suggestion", *figures["editor_ms"].values()),
            ("the same, the first in a file", *figures["opened_ms"].values()),
            ("the request by itself, from the replay client", *figures["request_ms"].values()),
        ],
    )
    table(
        "the same keystrokes through both",
        ("", "count"),
        [(name, str(value)) for name, value in figures["compared"].items()],
    )
    if options.learn:
        table(
            f"{figures['minutes']} minutes of typing, learnt from, beside the base",
            ("rows of", "mean reward", "more than the base's", "95%", "accepted of shown"),
            [show_base(figures["learnt"]["replay"]["base"])]
            + [show_lesson(name, lesson) for name, lesson in figures["learnt"].items()],
        )
    finish("editor", options, figures, {})


if __name__ == "__main__":
    main()
