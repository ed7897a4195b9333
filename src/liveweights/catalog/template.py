"""Chat templates, rendered where they can do no harm: see ``template_host``."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import re
import signal
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import Annotated, Any, Protocol, cast

import msgspec
from msgspec import Meta

from liveweights import bounds
from liveweights.catalog.template_host import HEAD, Job, Outcome, frame

log = logging.getLogger(__name__)

QUESTION: list[dict[str, Any]] = [{"role": "user", "content": "a"}]
"""What every template has an answer to, or refuses in words of its own."""
NOTHING: Mapping[str, Any] = MappingProxyType({})
EFFORT = "reasoning_effort"
SWITCHES = ("enable_thinking", "thinking")
"""Variables of templates that turn thinking on and off: Qwen, GLM and Nemotron; DeepSeek and
others."""
THOUGHT_MARKS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<seed:think>", "</seed:think>"),
)
"""Of Qwen, DeepSeek, Kimi, GLM, MiniMax and Nemotron; Mistral; Kimi-VL; Seed-OSS."""
_SHORT = 1 << 15
"""Bytes of a question up to which it is one of the short ones."""
_START_SECONDS = 120.0
"""Wall time that a process may take to import what it needs, on a machine that is busy."""
_WALL = 10.0
"""How much longer than its processor time a question may take altogether."""
# Templates are somebody else's programs: what else is in the environment is none of their business.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "LD_LIBRARY_PATH", "TMPDIR")


class TemplateSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[template]`` table: what a model's chat template may take for one conversation."""

    seconds: Annotated[
        float, Meta(ge=bounds.LEAST_SECONDS, le=3600, description="Processor time.")
    ] = 2.0
    characters: Annotated[
        int, Meta(ge=1024, le=1 << 28, description="Characters of the prompt that it makes.")
    ] = 1 << 22
    memory_mib: Annotated[
        int,
        Meta(
            ge=16,
            le=bounds.MIB,
            description="Memory, in MiB, beside the 60 of the process that renders it (Linux).",
        ),
    ] = 512


class TemplateRefusal(ValueError):
    """No prompt can be made of a conversation; the message says why, as the end of a sentence
    that begins with "The model's chat template"."""


class TurnsRefused(TemplateRefusal):
    """In the template's own words: its model does not know what it was shown, such as an order of
    roles."""


class Tokenizer(Protocol):
    """The part of ``transformers.PreTrainedTokenizerBase`` that is used here."""

    chat_template: Any


def has_template(tokenizer: Tokenizer) -> bool:
    return bool(tokenizer.chat_template)


class ChatTemplate:
    """A tokenizer's template. Short conversations and long ones each have a process, which is
    started when it is first needed or by ``start``, and again when it has ended; the conversations
    that wait for it are rendered by the next. One event loop only.
    """

    def __init__(self, tokenizer: Tokenizer, settings: TemplateSettings | None = None) -> None:
        """Raises TemplateRefusal for a tokenizer without one that could be taken."""
        self._settings = settings or TemplateSettings()
        tokens: dict[str, Any] = getattr(tokenizer, "special_tokens_map", {})
        self._job = Job(
            templates=_templates(tokenizer),
            tokens=tokens,
            seconds=self._settings.seconds,
            characters=self._settings.characters,
            memory_mib=self._settings.memory_mib,
        )
        self._short, self._long = _Line(self._job), _Line(self._job)

    async def start(self) -> None:
        """Start both processes. Raises TemplateRefusal for what fails at a plain question, where
        it does not refuse it in its own words."""
        for line in (self._short, self._long):
            outcome, text = await line.ask(_encode(QUESTION, None))
            if outcome is Outcome.FAILED:
                raise TemplateRefusal(f"fails at a plain question: {text}")

    async def render(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        variables: Mapping[str, Any] = NOTHING,
        /,
    ) -> str:
        """The prompt, ready for the assistant to answer; ``variables`` are what the template reads
        beside. Raises TemplateRefusal."""
        try:
            question = _encode(messages, tools, variables)
        except RecursionError:
            raise TemplateRefusal("cannot be shown what is nested so deeply") from None
        line = self._short if len(question) <= _SHORT else self._long
        outcome, text = await line.ask(question)
        if outcome is Outcome.RENDERED:
            return text
        if outcome is Outcome.REFUSED:
            raise TurnsRefused(f"refuses these messages: {text}")
        raise TemplateRefusal(f"fails at these messages: {text}")

    async def close(self) -> None:
        await self._short.close()
        await self._long.close()


async def find_fault(tokenizer: Tokenizer, settings: TemplateSettings | None = None) -> str | None:
    """Why a tokenizer's template could answer nobody; None where it could, or there is none."""
    if not has_template(tokenizer):
        return None
    try:
        template = ChatTemplate(tokenizer, settings)
        try:
            await template.start()
        finally:
            await template.close()
    except TemplateRefusal as error:
        return f"its chat template {error}"
    return None


class Render(Protocol):
    """The prompt of messages and tools; see `ChatTemplate.render`. Raises TemplateRefusal."""

    def __call__(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None = None,
        variables: Mapping[str, Any] = NOTHING,
        /,
    ) -> str: ...


@contextmanager
def rendering(tokenizer: Tokenizer, settings: TemplateSettings | None = None) -> Generator[Render]:
    """For who has no event loop. A tokenizer without a template refuses everything."""
    with asyncio.Runner() as runner:
        template: ChatTemplate | None = None

        def render(
            messages: list[dict[str, Any]],
            tools: list[dict[str, Any]] | None = None,
            variables: Mapping[str, Any] = NOTHING,
            /,
        ) -> str:
            nonlocal template
            if not has_template(tokenizer):
                raise TemplateRefusal("is missing")
            if template is None:
                template = ChatTemplate(tokenizer, settings)
            return runner.run(template.render(messages, tools, variables))

        try:
            yield render
        finally:
            if template is not None:
                runner.run(template.close())


_NO_CONTENT = re.compile(r"""(\w+)\[(['"])content\2\]\s+is\s+(not\s+)?none\b""")


def without_none(template: str) -> str:
    """A template that tells calls by content that is none, as DeepSeek V3's does: Transformers
    leaves out what is none, so here it is content that is empty beside calls."""

    def told(match: re.Match[str]) -> str:
        name, no = match[1], "" if match[3] else "not "
        empty = f"({name}.content or not {name}.tool_calls)"
        return f"({no}{empty})"

    return _NO_CONTENT.sub(told, template)


def _templates(tokenizer: Tokenizer) -> tuple[str, str]:
    """Without tools and with them, as Transformers chooses among several."""
    plain, tools = map(without_none, _given(tokenizer))
    return plain, tools


def _given(tokenizer: Tokenizer) -> tuple[str, str]:
    given = tokenizer.chat_template
    if not isinstance(given, dict):
        return str(given), str(given)
    named = cast(dict[str, str], given)
    plain = named.get("default")
    if plain is None:
        raise TemplateRefusal(f"is one of {sorted(named)}, and none is called 'default'")
    return plain, named.get("tool_use", plain)


def _encode(
    messages: list[dict[str, Any]],
    tools: list[dict[str, Any]] | None,
    variables: Mapping[str, Any] = NOTHING,
) -> bytes:
    return pickle.dumps((messages, tools, dict(variables)))


class _Ended(Exception):
    """The process has ended; the message says how."""


class _Line:
    """Questions that wait for one process, in the order in which they came."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._turn = asyncio.Lock()
        self._process: _Process | None = None
        self._closed = False

    async def ask(self, question: bytes) -> tuple[Outcome, str]:
        async with self._turn:
            process = self._process
            if process is None or process.ended.is_set():  # of another cause than a question
                process = await self._start()
            done = False
            try:
                answer = await process.ask(question, self._job.seconds * _WALL + _WALL)
                done = True
                return answer
            except _Ended as error:
                return Outcome.FAILED, str(error)
            finally:
                # Also where the wait was cancelled: nobody would read that answer.
                if not done:
                    self._process = None
                    process.kill()

    async def _start(self) -> _Process:
        if self._closed:
            raise TemplateRefusal("is not there any more: the server is shutting down")
        self._process = await _start(self._job)
        return self._process

    async def close(self) -> None:
        self._closed = True
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await process.ended.wait()


async def _start(job: Job) -> _Process:
    loop = asyncio.get_running_loop()
    _, process = await loop.subprocess_exec(
        lambda: _Process(job),
        sys.executable,
        "-m",
        "liveweights.catalog.template_host",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=None,
        start_new_session=True,
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
    )
    return process


class _Process(asyncio.SubprocessProtocol):
    """One process, which answers one question at a time."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._transport: asyncio.SubprocessTransport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._came = bytearray()
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self._send(msgspec.json.encode(self._job))

    async def ask(self, question: bytes, patience: float) -> tuple[Outcome, str]:
        """Raises _Ended where it ends, or has to be ended, instead of answering."""
        assert self._answer is None
        loop = asyncio.get_running_loop()
        answer = self._answer = loop.create_future()
        if self.ended.is_set():
            raise _Ended(self._how())
        overdue = loop.call_later(patience + _START_SECONDS, self.kill)
        try:
            self._send(question)
            body = await answer
        finally:
            overdue.cancel()
            self._answer = None
        return Outcome(body[0]), body[1:].decode("utf-8", "surrogatepass")

    @property
    def pid(self) -> int:
        assert self._transport is not None
        return self._transport.get_pid() or 0

    def kill(self) -> None:
        if self._transport is not None:
            with suppress(ProcessLookupError):
                self._transport.kill()

    def _send(self, body: bytes) -> None:
        assert self._transport is not None
        pipe = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))
        pipe.write(frame(body))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd != 1 or self._answer is None or self._answer.done():
            return
        self._came += data
        if len(self._came) < HEAD:
            return
        size = int.from_bytes(self._came[:HEAD], "big")
        if size > 4 * self._job.characters + HEAD:
            self.kill()  # it does not keep to what was agreed
        elif len(self._came) >= HEAD + size:
            self._answer.set_result(bytes(self._came[HEAD : HEAD + size]))
            self._came.clear()

    def process_exited(self) -> None:
        self.ended.set()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(_Ended(self._how()))

    def _how(self) -> str:
        code = self._transport.get_returncode() if self._transport is not None else None
        if code == -signal.SIGPROF:
            return f"it computes for more than {self._job.seconds:g} s"
        log.warning("the process of a chat template ended with code %s", code)
        return f"it ended the process that rendered it (code {code})"
