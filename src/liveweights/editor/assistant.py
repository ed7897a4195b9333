"""Suggests in open documents and tells the service what becomes of its suggestions."""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from liveweights.editor.context import (
    Context,
    Other,
    cut_overlap,
    is_worth_asking,
    select,
)
from liveweights.editor.documents import Document
from liveweights.editor.guard import name_of, why_not
from liveweights.editor.outbox import Outbox
from liveweights.editor.pauses import Pauses
from liveweights.editor.secrets import has_secret
from liveweights.editor.service import Answer, Away, Refused, Service
from liveweights.editor.settings import EditorSettings
from liveweights.editor.text import Change, Encoding, Place, offset_of
from liveweights.editor.tracker import Suggestion, Verdict

NOTHING = ("", "")
_ABOUT_SENDING = ("consent", "training", "url", "key", "user", "languages", "exclude")


@dataclass(frozen=True, slots=True)
class _Asked:
    """An answer, and whether the model was told what stands behind the cursor."""

    answer: Answer
    infill: bool


def make_user() -> str:
    """A name that says nothing and stays the same: a hash of the account and the machine."""
    try:
        account = getpass.getuser()
    except (KeyError, OSError):  # a container's, without a name; OSError from Python 3.13 on
        account = str(os.getuid())
    return hashlib.sha256(f"{account}@{platform.node()}".encode()).hexdigest()[:16]


class Assistant:
    """For use from one event loop. ``log`` is told once of whatever is wrong; nobody else is.

    What an editor says of a document that is not open is passed over: some give all documents
    without a name the same one, and open and close it more than once."""

    def __init__(self, settings: EditorSettings, log: Callable[[str], None]) -> None:
        self.settings = settings
        self.folders: Sequence[Path] = ()
        self.encoding: Encoding = "utf-16"
        self._log = log
        self._logged = set[str]()
        self._user = make_user()
        self._service = Service(settings, user=self._user)
        self._outbox = Outbox(lambda: self._service, self._log_once)
        self._documents: dict[str, Document] = {}
        self._asking: dict[str, asyncio.Task[_Asked | None]] = {}
        self._pauses = Pauses()
        self._away_until = 0.0

    async def configure(self, settings: EditorSettings) -> None:
        """From now on these settings hold. What was to be asked under others is asked no more, and
        what was to be told is not told where others said what may be sent, as whom, or to whom."""
        if settings == self.settings:
            return
        former, self.settings = self.settings, settings
        closing, self._service = self._service, Service(settings, user=self._user)
        kept = all(getattr(former, name) == getattr(settings, name) for name in _ABOUT_SENDING)
        if not kept:
            self._outbox.clear()
        self._logged.clear()
        self._away_until = 0.0
        for uri, document in self._documents.items():
            self._stop_asking(uri)
            if not kept:
                document.tracks.clear()
            elif document.tracks:
                self._tick_later(document)
        await closing.close()

    def open(self, uri: str, language: str, text: str, version: int) -> None:
        self._documents[uri] = Document(uri, language, text, version)

    def change(self, uri: str, changes: Sequence[Change], version: int) -> None:
        """What was asked for before is of no use any more."""
        self._stop_asking(uri)
        document = self._documents.get(uri)
        if document is None:
            return
        document.version = version
        self._tell(document, document.change(changes, self.encoding, monotonic()))

    def save(self, uri: str) -> None:
        if (document := self._documents.get(uri)) is not None:
            self._tell(document, document.save())

    def close(self, uri: str) -> None:
        self._stop_asking(uri)
        if (document := self._documents.pop(uri, None)) is not None:
            self._tell(document, document.close(monotonic()))

    def accept(self, generation: str) -> None:
        for document in self._documents.values():
            self._tell(document, document.accept(generation, monotonic()))

    def dismiss(self) -> None:
        for document in self._documents.values():
            self._tell(document, document.dismiss())

    async def end(self) -> None:
        """Close what is open, and send what can still be told."""
        for uri in list(self._documents):
            self.close(uri)
        await self._outbox.close()
        await self._service.close()

    async def suggest(self, uri: str, place: Place, *, invoked: bool = False) -> tuple[str, str]:
        """A generation's id and what to show at ``place``; both empty where nothing is. Unless the
        user ``invoked`` it, it waits for a pause in the typing."""
        document = self._documents.get(uri)
        if document is None:
            return NOTHING
        offset = offset_of(document.text, place, self.encoding)
        self._stop_asking(uri)
        self._tell(document, document.ask(offset, monotonic()))
        off = "" if self.settings.enabled else "suggestions are switched off (`enabled`)"
        if why := off or self._refuse(document):
            self._log_once(f"nothing is suggested: {why}")
            return NOTHING
        offered = document.offered(offset)
        if offered != NOTHING or monotonic() < self._away_until:
            return offered
        # If nothing before the cursor may be sent, not even the model is asked about.
        if self._select(document, offset, infill=False) is None:
            return NOTHING
        version = document.version
        task = asyncio.create_task(self._ask(document, offset, wait=not invoked))
        self._asking[uri] = task
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
        asked = None if task.cancelled() else task.result()
        if asked is None or document.version != version:
            return NOTHING
        return self._show(document, asked, offset)

    async def _ask(self, document: Document, offset: int, *, wait: bool) -> _Asked | None:
        """What the service answers; None where it is not asked, or does not answer."""
        if wait:
            await asyncio.sleep(self.settings.debounce)
        try:
            infill = await self._service.fills_in()
            if not is_worth_asking(document.text, offset, infill=infill):
                return None
            others = self._others(document)
            context = self._select(document, offset, infill=infill, others=others)
            if context is None:
                return None
            answer = await self._service.complete(
                context, language=document.language, session=document.session
            )
        except (Away, Refused) as error:
            self._away_until = monotonic() + self._pauses.fail()
            self._log_once(str(error))
            return None
        self._pauses.succeed()
        return _Asked(answer, infill)

    def _select(
        self, document: Document, offset: int, *, infill: bool, others: Sequence[Other] = ()
    ) -> Context | None:
        return select(
            document.text,
            offset,
            tokens=self.settings.context_tokens,
            infill=infill,
            name=name_of(document.uri, self.folders),
            language=document.language,
            others=others,
        )

    def _others(self, document: Document) -> list[Other]:
        return [
            Other(name_of(other.uri, self.folders), other.text)
            for other in self._documents.values()
            if other is not document and not self._refuse(other)
        ]

    def _show(self, document: Document, asked: _Asked, offset: int) -> tuple[str, str]:
        tail = document.tail(offset)
        text, overlap = cut_overlap(asked.answer.text.rstrip(), tail, infill=asked.infill)
        suggestion = Suggestion(
            generation=asked.answer.generation,
            text=text.rstrip(),
            overlap=overlap,
            infill=asked.infill,
        )
        self._tell(document, document.show(suggestion, offset, monotonic()))
        return document.offered(offset)

    def _refuse(self, document: Document) -> str:
        return why_not(document.uri, document.language, self.settings, self.folders)

    def _tell(self, document: Document, verdicts: Sequence[Verdict]) -> None:
        """Send verdicts, but for texts with a secret in them; nothing of what is excluded by now.
        What was accepted is looked at again once it has settled."""
        if not verdicts or self._refuse(document):
            return
        if any(verdict.signal == "accepted" for verdict in verdicts):
            self._tick_later(document)
        name = name_of(document.uri, self.folders)
        self._outbox.add([one for one in verdicts if not _has_secret(one, name)])

    def _tick_later(self, document: Document) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(self.settings.settle, self._tick, document)

    def _tick(self, document: Document) -> None:
        # A timer may ring a moment before its time by another clock.
        now = monotonic() + 0.01
        self._tell(document, document.tick(self.settings.settle, now))

    def _stop_asking(self, uri: str) -> None:
        task = self._asking.pop(uri, None)
        if task is not None:
            task.cancel()

    def _log_once(self, text: str) -> None:
        if text not in self._logged:
            self._logged.add(text)
            self._log(text)


def _has_secret(verdict: Verdict, name: str) -> bool:
    """Whether what a verdict tells is, or stands on a line with, a secret."""
    there = verdict.source is not None and has_secret(
        verdict.source.document, name, verdict.source.start, verdict.source.end
    )
    return there or has_secret(verdict.text or "", name)
