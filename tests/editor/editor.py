"""An editor at the other end of the language server, which types, takes, dismisses and saves, and
the service that it reaches: ours, with real rows, and answers that are told it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from lsprotocol import types
from pygls.lsp.client import LanguageClient
from tests.serve.api.doubles import BASE, ScriptedEngine, TemplateHere, make_tokenizer
from tests.serve.api.servers import answering, make_server

from liveweights.record.writer import Writer
from liveweights.serve.api.app import create_app
from liveweights.serve.models import Models, make_model
from liveweights.serve.router import Router
from liveweights.store.database import open_pool

QUICK: dict[str, Any] = {"consent": True, "debounce": 0, "settle": 0.2, "model": "tiny"}


@asynccontextmanager
async def serving(
    dsn: str, texts: Sequence[str], *, infill: bool = False
) -> AsyncGenerator[tuple[str, ScriptedEngine]]:
    """A service that answers with ``texts`` one after the other; its URL and its engine."""
    with psycopg.connect(dsn) as conn:
        conn.execute(
            "insert into checkpoints (id, kind, folder, card) values (%s, 'base', '/', '{}')",
            (BASE,),
        )
    tokenizer = make_tokenizer(infill=infill)
    engine = ScriptedEngine(tokenizer, texts)
    router = Router()
    router.set("tiny", BASE)
    pool = await open_pool(dsn)
    try:
        async with Writer(pool) as writer:
            model = make_model(engine, router, tokenizer, template=TemplateHere(tokenizer))
            app = create_app(Models(model), writer)
            async with answering(make_server(app)) as url:
                yield url.removesuffix("/v1"), engine
    finally:
        await pool.close()


class Relay:
    """A port in front of a service, which can be closed as if the service were away."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._service = parts.hostname, parts.port
        self._port = 0
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def open(self) -> None:
        """Listen, on the same port every time."""
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Refuse connections and break those that are open."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        from_service, to_service = await asyncio.open_connection(*self._service)
        await asyncio.gather(_copy(reader, to_service), _copy(from_service, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


@asynccontextmanager
async def relaying(url: str) -> AsyncGenerator[Relay]:
    """An open relay in front of ``url``."""
    relay = Relay(url)
    await relay.open()
    try:
        yield relay
    finally:
        relay.close()


def read_feedback(dsn: str) -> list[tuple[str, str | None]]:
    """Signal and text of every row, by answer, in the order in which they came."""
    with psycopg.connect(dsn) as conn:
        return conn.execute(
            "select signal, f.text from feedback f join generations g on g.id = f.generation"
            " order by g.created_at, f.received_at, f.signal"
        ).fetchall()


class Editor:
    """One open file and a cursor. Changes go out as they are made, as an editor sends them."""

    def __init__(self, client: LanguageClient, file: Path, text: str) -> None:
        self.client = client
        self.file = file
        self.uri = file.as_uri()
        self.text = text
        self.cursor = len(text)
        self.version = 1
        self.item: types.InlineCompletionItem | None = None

    def open(self, language: str = "python") -> None:
        """The file is written first where it is not there: nothing is sent of what is no file."""
        if not self.file.exists():
            self.file.write_text(self.text)
        document = types.TextDocumentItem(self.uri, language, self.version, self.text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(document))

    def replace(self, start: int, end: int, put: str) -> None:
        self.version += 1
        change = types.TextDocumentContentChangePartial(
            types.Range(self.position(start), self.position(end)), put
        )
        self.text = self.text[:start] + put + self.text[end:]
        self.cursor = start + len(put)
        document = types.VersionedTextDocumentIdentifier(self.version, self.uri)
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))

    def type(self, text: str) -> None:
        for letter in text:
            self.replace(self.cursor, self.cursor, letter)

    async def ask(self, *, invoked: bool = False, cursor: int | None = None) -> str:
        """What is shown at the cursor; empty where nothing is."""
        kind = types.InlineCompletionTriggerKind
        params = types.InlineCompletionParams(
            types.InlineCompletionContext(kind.Invoked if invoked else kind.Automatic),
            types.TextDocumentIdentifier(self.uri),
            self.position(self.cursor if cursor is None else cursor),
        )
        shown = await self.client.text_document_inline_completion_async(params)
        items = shown.items if isinstance(shown, types.InlineCompletionList) else shown or []
        self.item = items[0] if items else None
        return "" if self.item is None else str(self.item.insert_text)

    async def take(self, size: int | None = None) -> None:
        """All that is shown, as with Tab, or its first characters."""
        assert self.item is not None
        text = str(self.item.insert_text)
        self.replace(self.cursor, self.cursor, text[:size])
        if size is None:
            command = self.item.command
            assert command is not None
            await self.run(command.command, command.arguments)

    async def run(self, command: str, arguments: Any = None) -> None:
        await self.client.workspace_execute_command_async(
            types.ExecuteCommandParams(command, arguments=arguments)
        )

    def save(self) -> None:
        document = types.TextDocumentIdentifier(self.uri)
        self.client.text_document_did_save(types.DidSaveTextDocumentParams(document))

    def close(self) -> None:
        document = types.TextDocumentIdentifier(self.uri)
        self.client.text_document_did_close(types.DidCloseTextDocumentParams(document))

    def position(self, offset: int) -> types.Position:
        head = self.text[:offset]
        line = head[head.rfind("\n") + 1 :]
        return types.Position(head.count("\n"), len(line.encode("utf-16-le")) // 2)


class Client(LanguageClient):
    """Remembers what the server said to the user."""

    def __init__(self) -> None:
        super().__init__("tests", "1")
        self.logged: list[str] = []
        self.shown: list[str] = []

        @self.feature(types.WINDOW_LOG_MESSAGE)
        def log(params: types.LogMessageParams) -> None:
            self.logged.append(params.message)

        @self.feature(types.WINDOW_SHOW_MESSAGE)
        def show(params: types.ShowMessageParams) -> None:
            self.shown.append(params.message)


@asynccontextmanager
async def language_server(folder: Path, **settings: Any) -> AsyncGenerator[Client]:
    """``liveweights lsp`` as an editor starts it in ``folder``. At the end it is told to end, and
    has sent what there was to send."""
    client = Client()
    command = [sys.executable, "-c", "from liveweights.cli import main; main()", "lsp"]
    await client.start_io(*command, env={**os.environ, "OPENAI_API_KEY": ""})
    try:
        started = await client.initialize_async(
            types.InitializeParams(
                types.ClientCapabilities(
                    text_document=types.TextDocumentClientCapabilities(
                        inline_completion=types.InlineCompletionClientCapabilities()
                    )
                ),
                root_uri=folder.as_uri(),
                initialization_options={**QUICK, **settings},
            )
        )
        assert started.capabilities.inline_completion_provider
        client.initialized(types.InitializedParams())
        yield client
        async with asyncio.timeout(30):
            await client.shutdown_async(None)
    finally:
        client.exit(None)
        await client.stop()
