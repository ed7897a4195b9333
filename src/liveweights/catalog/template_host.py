"""The process that renders chat templates: ``python -m liveweights.catalog.template_host``.

A template is a program that came with somebody's model. It runs here, in Jinja's sandbox, with
bounds on processor time, memory and output, and whatever it does ends this process at worst.

The first frame on standard input is a ``Job`` in JSON. Each further one is a question: messages,
tools and further variables, pickled by the parent. A frame is its length in 4 bytes, big-endian,
and so many bytes; an answer's first byte is an ``Outcome``, the rest is text in UTF-8, lone
surrogates included.
"""

from __future__ import annotations

import os
import pickle
import resource
import signal
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import Any

import msgspec

from liveweights.machine import end_with_parent, mapped_memory

HEAD = 4
CONTINUE = "continue_final_message"
"""The variable that says that the last message is the beginning of the answer."""
Render = Callable[[list[dict[str, Any]], list[Any] | None, dict[str, Any]], str]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """``templates``: for conversations without tools and with them. ``seconds`` of processor time
    and ``characters`` of output per question, ``memory_mib`` beside what the process has."""

    templates: tuple[str, str]
    tokens: dict[str, Any]
    seconds: float
    characters: int
    memory_mib: int


class Outcome(IntEnum):
    """``REFUSED``: by the template, in its own words. ``FAILED``: an error of the template's."""

    RENDERED = 0
    REFUSED = 1
    FAILED = 2


def main() -> None:
    end_with_parent()
    answers = os.dup(1)
    os.dup2(2, 1)  # libraries print what they like
    first = _read(0)
    if first is None:
        return
    job = msgspec.json.decode(first, type=Job)
    render = _renderer(job)
    _limit_memory(job.memory_mib)
    while (question := _read(0)) is not None:
        messages, tools, variables = pickle.loads(question)
        signal.setitimer(signal.ITIMER_PROF, job.seconds)  # its signal ends the process
        outcome, text = _attempt(lambda m=messages, t=tools, v=variables: render(m, t, v))
        if len(text) > job.characters:
            outcome = Outcome.FAILED
            text = f"it makes {len(text):,} characters of them, more than {job.characters:,}"
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(answers, outcome, text)


def _renderer(job: Job) -> Render:
    from transformers.utils.chat_template_utils import render_jinja_template

    def render(
        messages: list[dict[str, Any]], tools: list[Any] | None, variables: dict[str, Any]
    ) -> str:
        # As PreTrainedTokenizerBase.apply_chat_template does it.
        given = [{k: v for k, v in message.items() if v is not None} for message in messages]
        (text,), _ = render_jinja_template(  # pyright: ignore[reportAssignmentType]
            conversations=[given],
            tools=tools,
            chat_template=job.templates[tools is not None],
            add_generation_prompt=not variables.get(CONTINUE),
            **(variables | job.tokens),
        )
        return text

    return render


def _attempt(render: Callable[[], str]) -> tuple[Outcome, str]:
    from jinja2 import TemplateError, TemplateSyntaxError

    try:
        return Outcome.RENDERED, render()
    except TemplateSyntaxError as error:
        return Outcome.FAILED, f"it cannot be read, at line {error.lineno}: {error.message}"
    except MemoryError:
        return Outcome.FAILED, "it needs more memory than it may have"
    except RecursionError:
        return Outcome.FAILED, "it calls itself too many times"
    except Exception as error:
        # Only `raise_exception`, which templates call for what their model does not know, makes
        # an error of exactly this type.
        meant = type(error) is TemplateError
        reason = str(error) if meant else f"{type(error).__name__}: {error}"
        return Outcome.REFUSED if meant else Outcome.FAILED, reason[:1000]


def _limit_memory(more_mib: int) -> None:
    """What is mapped already counts, so the limit lies above that. Not every system has one."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    mapped = mapped_memory()
    if mapped is None:
        return
    limit = mapped + (more_mib << 20)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _read(file: int) -> bytes | None:
    """The next frame; None at the end."""
    head = _read_exactly(file, HEAD)
    return None if head is None else _read_exactly(file, int.from_bytes(head, "big"))


def _read_exactly(file: int, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size:
        part = os.read(file, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _write(file: int, outcome: Outcome, text: str) -> None:
    body = text.encode("utf-8", "surrogatepass")
    left = memoryview(frame(bytes([outcome]) + body))
    while left:
        left = left[os.write(file, left) :]


def frame(body: bytes) -> bytes:
    return len(body).to_bytes(HEAD, "big") + body


if __name__ == "__main__":
    main()
    sys.stdout.flush()
