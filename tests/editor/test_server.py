"""``liveweights lsp`` over standard input and output, driven by pygls' client as an editor drives
it, against our API with a real record: which rows each way of reacting leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from lsprotocol import types

from .editor import Client, Editor, language_server, read_feedback, relaying, serving

BEFORE = "def area(width, height):\n    return"
WHOLE = " width * height"
OTHER = ("rejected", None), ("correction", " 42\n")


def react(
    dsn: str,
    folder: Path,
    act: Callable[[Editor], Awaitable[None]],
    *texts: str,
    before: str = BEFORE,
    **settings: Any,
) -> list[tuple[str, str | None]]:
    """The rows of what somebody does with the suggestion in an open file; the model is silent
    after it."""
    texts = (*(texts or (WHOLE,)), "")

    async def scenario() -> None:
        async with (
            serving(dsn, texts) as (url, _),
            language_server(folder, url=url, **settings) as client,
        ):
            editor = Editor(client, folder / "area.py", before)
            editor.open()
            assert await editor.ask() == texts[0]
            await act(editor)

    asyncio.run(scenario())
    return read_feedback(dsn)


async def take_whole(editor: Editor) -> None:
    await editor.take()


async def take_whole_without_a_word(editor: Editor) -> None:
    editor.replace(editor.cursor, editor.cursor, WHOLE)


async def take_words(editor: Editor) -> None:
    for word in (" width", " *", " height"):
        await editor.take(len(word))
        await editor.ask()


async def type_it(editor: Editor) -> None:
    for letter in WHOLE:
        editor.type(letter)
        await editor.ask()
    editor.type("\n")


async def take_a_word_and_go_on(editor: Editor) -> None:
    await editor.take(len(" width"))
    editor.type(" + 1\n")


async def type_on(editor: Editor) -> None:
    editor.type(" 42\n")


async def dismiss(editor: Editor) -> None:
    await editor.run("liveweights.dismissed")


async def dismiss_and_type(editor: Editor) -> None:
    await dismiss(editor)
    editor.type(" 42\n")


async def go_away(editor: Editor) -> None:
    editor.replace(0, 0, "x = 1\n")


async def close(editor: Editor) -> None:
    editor.close()


PART = [("accepted", None), ("correction", " width + 1\n"), ("edited", " width")]


@pytest.mark.parametrize(
    ("act", "rows"),
    [
        (take_whole, [("accepted", None), ("edited", WHOLE)]),
        (take_whole_without_a_word, [("accepted", None), ("edited", WHOLE)]),
        (take_words, [("accepted", None), ("edited", WHOLE)]),
        (type_it, [("accepted", None), ("edited", WHOLE)]),
        (take_a_word_and_go_on, PART),
        (type_on, [*OTHER][::-1]),
        (dismiss, [("rejected", None)]),
        (dismiss_and_type, [*OTHER]),
        (go_away, [("rejected", None)]),
        (close, [("rejected", None)]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_way_of_reacting_leaves_its_rows(
    database_dsn: str,
    tmp_path: Path,
    act: Callable[[Editor], Awaitable[None]],
    rows: list[tuple[str, str | None]],
) -> None:
    """Those that come in one request are at the same time, and sorted by signal. At the end of the
    session it is told what is left of what was taken."""
    assert sorted(react(database_dsn, tmp_path, act), key=str) == sorted(rows, key=str)


LINES = " [\n        width,\n        height,\n    ]"


def test_lines_are_taken_one_by_one(database_dsn: str, tmp_path: Path) -> None:
    async def act(editor: Editor) -> None:
        for line in (" [", "\n        width,"):
            await editor.take(len(line))
            await editor.ask()
        editor.type("\n        depth]\n")

    rows = react(database_dsn, tmp_path, act, LINES, multiline=True, maxTokens=64)
    part = " [\n        width,"
    assert sorted(rows, key=str) == [
        ("accepted", None),
        ("correction", f"{part}\n        depth]\n"),
        ("edited", part),
    ]


def test_it_survives_30_seconds_and_a_save(database_dsn: str, tmp_path: Path) -> None:
    async def act(editor: Editor) -> None:
        await editor.take()
        editor.save()
        await editor.ask()
        await until(lambda: len(read_feedback(database_dsn)) == 3)
        editor.replace(len(BEFORE) + 1, len(BEFORE) + 6, "depth")
        editor.save()

    assert react(database_dsn, tmp_path, act) == [
        ("accepted", None),
        ("edited", WHOLE),
        ("edited", WHOLE),
        ("edited", " depth * height"),
    ]


def test_silence_shows_nothing_and_what_is_written_teaches(
    database_dsn: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with (
            serving(database_dsn, [""]) as (url, _),
            language_server(tmp_path, url=url) as client,
        ):
            editor = Editor(client, tmp_path / "area.py", BEFORE)
            editor.open()
            assert await editor.ask() == ""
            editor.type(" 42\n")

    asyncio.run(scenario())
    assert read_feedback(database_dsn) == [("correction", " 42\n")]


def test_a_suggestion_that_is_typed_is_asked_for_once(database_dsn: str, tmp_path: Path) -> None:
    async def scenario() -> int:
        async with (
            serving(database_dsn, [WHOLE]) as (url, engine),
            language_server(tmp_path, url=url) as client,
        ):
            editor = Editor(client, tmp_path / "area.py", BEFORE)
            editor.open()
            await editor.ask()
            editor.type(" wi")
            assert await editor.ask() == "dth * height"
            return len(engine.calls)

    assert asyncio.run(scenario()) == 1


def test_a_model_that_fills_in_is_told_both_sides(database_dsn: str, tmp_path: Path) -> None:
    async def scenario() -> str:
        async with (
            serving(database_dsn, ["width"], infill=True) as (url, engine),
            language_server(tmp_path, url=url) as client,
        ):
            editor = Editor(client, tmp_path / "area.py", "area(, height)\n")
            editor.open()
            editor.cursor = len("area(")
            assert await editor.ask() == "width"
            await editor.take()
            ((_, ids, _),) = engine.calls
            return engine.tokenizer.decode(ids)

    prompt = asyncio.run(scenario())
    assert prompt == "<fim_prefix>area(<fim_suffix>, height)\n<fim_middle>"


def test_of_other_open_files_what_is_alike_is_sent(database_dsn: str, tmp_path: Path) -> None:
    async def scenario() -> str:
        async with (
            serving(database_dsn, [WHOLE]) as (url, engine),
            language_server(tmp_path, url=url) as client,
        ):
            alike = "def volume(width, height, depth):\n    return width * height * depth\n"
            Editor(client, tmp_path / "volume.py", alike).open()
            Editor(client, tmp_path / ".env", "width = height\ndef return area").open()
            editor = Editor(client, tmp_path / "area.py", BEFORE)
            editor.open()
            await editor.ask()
            ((_, ids, _),) = engine.calls
            return engine.tokenizer.decode(ids)

    prompt = asyncio.run(scenario())
    assert prompt.startswith("# volume.py\ndef volume(")
    assert prompt.endswith(BEFORE)
    assert ".env" not in prompt


class TestNothingLeaves:
    """Every request that reaches the port is counted."""

    def count(
        self,
        folder: Path,
        name: str = "area.py",
        text: str = BEFORE,
        *,
        uri: str = "",
        **settings: Any,
    ) -> int:
        async def scenario() -> int:
            reached = 0

            async def reach(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                nonlocal reached
                reached += 1
                writer.close()

            port = await asyncio.start_server(reach, "127.0.0.1", 0)
            url = f"http://127.0.0.1:{port.sockets[0].getsockname()[1]}"
            async with port, language_server(folder, url=url, **settings) as client:
                editor = Editor(client, folder / name, text)
                editor.uri = uri or editor.uri
                editor.open()
                assert await editor.ask(invoked=True) == ""
                editor.type(" 42\n")
                assert await editor.ask(invoked=True) == ""
                editor.save()
                editor.close()
            return reached

        return asyncio.run(scenario())

    def test_where_it_may_something_does(self, tmp_path: Path) -> None:
        assert self.count(tmp_path) > 0

    def test_without_consent(self, tmp_path: Path) -> None:
        assert self.count(tmp_path, consent=False) == 0

    def test_switched_off(self, tmp_path: Path) -> None:
        assert self.count(tmp_path, enabled=False) == 0

    def test_in_another_language(self, tmp_path: Path) -> None:
        assert self.count(tmp_path, languages=["lua"]) == 0

    def test_of_what_was_never_saved(self, tmp_path: Path) -> None:
        unsaved = (tmp_path / "unsaved.py").as_uri()
        for uri in ("file://", "untitled:Untitled-1", unsaved):
            assert self.count(tmp_path, uri=uri) == 0

    def test_of_what_git_ignores(self, tmp_path: Path) -> None:
        (tmp_path / ".gitignore").write_text("build/\n")
        (tmp_path / "build").mkdir()
        assert self.count(tmp_path, "build/area.py") == 0

    def test_of_what_a_pattern_names(self, tmp_path: Path) -> None:
        assert self.count(tmp_path, "area.py", exclude=["*.py"]) == 0
        assert self.count(tmp_path, ".env") == 0

    def test_of_a_line_with_a_password(self, tmp_path: Path) -> None:
        assert self.count(tmp_path, text='password = "hunter2-and-more"') == 0

    def test_of_a_password_that_is_being_written(self, tmp_path: Path) -> None:
        assert self.count(tmp_path, text='password = "hunter2-and') == 0

    def test_below_a_folder_that_a_pattern_names(self, tmp_path: Path) -> None:
        (tmp_path / ".ssh").mkdir()
        assert self.count(tmp_path / ".ssh", "github") == 0


@pytest.mark.parametrize(
    ("before", "written"),
    [
        (BEFORE, ' password = "hunter2-and-more"\n'),
        ("a = 1\npassword =", ' "hunter2!xyz"\n'),
        ("a = 1\npassword =", ' "hunter2!xyz\n'),
    ],
)
def test_a_correction_with_a_password_stays_here(
    database_dsn: str, tmp_path: Path, before: str, written: str
) -> None:
    async def act(editor: Editor) -> None:
        editor.type(written)

    assert react(database_dsn, tmp_path, act, before=before) == [("rejected", None)]


def test_what_is_left_of_an_answer_stays_here_where_it_is_a_password(
    database_dsn: str, tmp_path: Path
) -> None:
    async def act(editor: Editor) -> None:
        await editor.take()
        editor.replace(editor.cursor - 4, editor.cursor - 1, "hunter2!xyz")
        editor.save()

    rows = react(database_dsn, tmp_path, act, ' "me!"', before="a = 1\npassword =", settle=600)
    assert rows == [("accepted", None)]


def test_with_the_service_away_nothing_shows_and_the_log_is_told_once(tmp_path: Path) -> None:
    async def scenario() -> Client:
        async with language_server(tmp_path, url="http://127.0.0.1:9") as client:
            editor = Editor(client, tmp_path / "area.py", BEFORE)
            editor.open()
            for letter in " 42\n":
                editor.type(letter)
                assert await editor.ask() == ""
            return client

    client = asyncio.run(scenario())
    assert len(client.logged) == 1
    assert client.shown == []


def test_what_there_is_to_tell_waits_until_the_service_is_back(
    database_dsn: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with (
            serving(database_dsn, [WHOLE, ""]) as (url, _),
            relaying(url) as relay,
            language_server(tmp_path, url=relay.url) as client,
        ):
            editor = Editor(client, tmp_path / "area.py", BEFORE)
            editor.open()
            assert await editor.ask() == WHOLE
            relay.close()
            editor.type(" 42\n")
            assert await editor.ask() == ""
            assert read_feedback(database_dsn) == []
            await relay.open()
            await until(lambda: len(read_feedback(database_dsn)) == 2)
            assert client.shown == []

    asyncio.run(scenario())
    assert sorted(read_feedback(database_dsn), key=str) == sorted(OTHER, key=str)


@pytest.mark.parametrize(
    ("given", "said"), [({"debounce": -1}, "debounce"), ({"exclude": ["build\\"]}, "exclude")]
)
def test_settings_that_are_not_understood_are_told_and_the_former_hold(
    database_dsn: str, tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    async def scenario() -> list[str]:
        async with (
            serving(database_dsn, [WHOLE]) as (url, _),
            language_server(tmp_path, url=url) as client,
        ):
            configure(client, {"liveweights": given})
            editor = Editor(client, tmp_path / "area.py", BEFORE)
            editor.open()
            assert await editor.ask() == WHOLE
            return client.shown

    (text,) = asyncio.run(scenario())
    assert said in text


def test_consent_that_is_withdrawn_counts_at_once(database_dsn: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            serving(database_dsn, [WHOLE]) as (url, engine),
            language_server(tmp_path, url=url) as client,
        ):
            editor = Editor(client, tmp_path / "area.py", BEFORE)
            editor.open()
            assert await editor.ask() == WHOLE
            configure(client, {"liveweights": {"consent": False}})
            editor.type(" 42\n")
            assert await editor.ask() == ""
            assert len(engine.calls) == 1

    asyncio.run(scenario())
    assert read_feedback(database_dsn) == []


def test_consent_that_is_withdrawn_before_it_asks_counts(database_dsn: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            serving(database_dsn, [WHOLE]) as (url, engine),
            language_server(tmp_path, url=url, debounce=1) as client,
        ):
            editor = Editor(client, tmp_path / "area.py", BEFORE)
            editor.open()
            asking = asyncio.create_task(editor.ask())
            await asyncio.sleep(0)
            configure(client, {"liveweights": {"consent": False}})
            assert await asking == ""
            assert engine.calls == []

    asyncio.run(scenario())


def configure(client: Client, settings: dict[str, Any]) -> None:
    client.workspace_did_change_configuration(types.DidChangeConfigurationParams(settings))


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.05)
