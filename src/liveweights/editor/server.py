"""The language server: what the protocol says, handed to the assistant.

https://microsoft.github.io/language-server-protocol/specifications/lsp/3.18/specification/
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from lsprotocol import types
from pygls.lsp.server import LanguageServer

from liveweights import __version__
from liveweights.editor.assistant import Assistant
from liveweights.editor.exclusions import BadPattern, check_patterns
from liveweights.editor.guard import path_of
from liveweights.editor.settings import EditorSettings
from liveweights.editor.text import Change, Place, clean
from liveweights.http.surrogates import without_halves

SECTION = "liveweights"
ACCEPTED, DISMISSED = "liveweights.accepted", "liveweights.dismissed"
"""Commands by which an editor says what it knows: the first runs by itself with a suggestion that
was taken whole, and names its generation."""


class BadSettings(ValueError):
    """An editor's settings are not understood; the message says which and why."""


def read_settings(given: object, defaults: EditorSettings) -> EditorSettings:
    """What an editor said, over ``defaults``. Raises BadSettings."""
    if isinstance(given, dict) and set(given) == {SECTION}:
        given = given[SECTION]
    if given is None or given == []:
        return defaults
    if not isinstance(given, dict):
        raise BadSettings("the settings of liveweights are not a table: send keys and values")
    merged = {**msgspec.to_builtins(defaults), **given}
    if not str(merged["key"] or "").strip():
        merged["key"] = defaults.key
    try:
        mended = without_halves(json.dumps(merged).encode())
        settings = msgspec.json.decode(mended, type=EditorSettings)
        check_patterns(settings.exclude)
    except BadPattern as error:
        said = f"`exclude` has {str(error)!r}, which no file can match"
        raise BadSettings(f"liveweights: {said}; the settings before it hold on") from error
    except msgspec.DecodeError as error:
        raise BadSettings(f"liveweights: {error}; the settings before it hold on") from error
    return settings


def make_server(defaults: EditorSettings) -> LanguageServer:
    """A server over ``defaults``, which an editor's own settings go over."""
    server = LanguageServer("liveweights", __version__)

    def log(text: str) -> None:
        params = types.LogMessageParams(types.MessageType.Warning, text)
        server.window_log_message(params)

    assistant = Assistant(defaults, log)

    async def configure(given: Any) -> None:
        try:
            await assistant.configure(read_settings(given, defaults))
        except BadSettings as error:
            server.window_show_message(types.ShowMessageParams(types.MessageType.Error, str(error)))

    @server.feature(types.INITIALIZE)
    async def initialize(params: types.InitializeParams) -> None:
        assistant.folders = _folders(params)
        await configure(params.initialization_options)

    @server.feature(types.WORKSPACE_DID_CHANGE_CONFIGURATION)
    async def reconfigure(params: types.DidChangeConfigurationParams) -> None:
        await configure(params.settings)

    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def open_document(params: types.DidOpenTextDocumentParams) -> None:
        document = params.text_document
        kind = server.workspace.position_encoding or types.PositionEncodingKind.Utf16
        assistant.encoding = types.PositionEncodingKind(kind).value
        language = clean(str(document.language_id))
        assistant.open(document.uri, language, clean(document.text), document.version)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def change_document(params: types.DidChangeTextDocumentParams) -> None:
        changes = [_change(change) for change in params.content_changes]
        assistant.change(params.text_document.uri, changes, params.text_document.version)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def save_document(params: types.DidSaveTextDocumentParams) -> None:
        assistant.save(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def close_document(params: types.DidCloseTextDocumentParams) -> None:
        assistant.close(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_INLINE_COMPLETION, types.InlineCompletionOptions())
    async def suggest(params: types.InlineCompletionParams) -> types.InlineCompletionList | None:
        # What is chosen in the list of completions stands in the way of a suggestion.
        if params.context.selected_completion_info is not None:
            return None
        position = params.position
        generation, text = await assistant.suggest(
            params.text_document.uri,
            Place(position.line, position.character),
            invoked=params.context.trigger_kind == types.InlineCompletionTriggerKind.Invoked,
        )
        if not text:
            return None
        return types.InlineCompletionList(
            [
                types.InlineCompletionItem(
                    insert_text=text,
                    range=types.Range(position, position),
                    command=types.Command("accepted", ACCEPTED, arguments=[generation]),
                )
            ]
        )

    @server.command(ACCEPTED)
    def accept(generation: str) -> None:
        assistant.accept(generation)

    @server.command(DISMISSED)
    def dismiss() -> None:
        assistant.dismiss()

    @server.feature(types.SHUTDOWN)
    async def end(_: None) -> None:
        await assistant.end()

    return server


def _folders(params: types.InitializeParams) -> Sequence[Path]:
    uris = [folder.uri for folder in params.workspace_folders or ()]
    if not uris and params.root_uri:
        uris = [params.root_uri]
    return [path for uri in uris if (path := path_of(uri)) is not None]


def _change(change: types.TextDocumentContentChangeEvent) -> Change:
    if isinstance(change, types.TextDocumentContentChangeWholeDocument):
        return Change(change.text)
    return Change(change.text, _place(change.range.start), _place(change.range.end))


def _place(position: types.Position) -> Place:
    return Place(position.line, position.character)
