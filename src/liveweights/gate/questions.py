"""Candidate and incumbent answer the same held-back prompts through the public API."""

from __future__ import annotations

import asyncio
import hashlib
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp
import msgspec

from liveweights import bounds
from liveweights.gate.calibration import Draft
from liveweights.gate.readiness import NOT_READY
from liveweights.gate.scoring import Case
from liveweights.learn.passages import prompt_text
from liveweights.record.generation import Generation
from liveweights.weights.selection import confidence

MARGIN = 8
"""Tokens more than the truth has, so that a wrong longer answer is seen to be wrong."""


CHAT_TOKENS = 128
"""Of a chat answer so many tokens are asked for at most: enough to see how it is answered."""
SECONDS = 120.0
"""An answer may take so long, however short it is."""
SECONDS_PER_TOKEN = 0.1
"""And so much longer for each token of prompt and answer: as a machine without a GPU reads a long
chat while it has others to answer."""


class NotAnswered(RuntimeError):
    """A checkpoint did not answer what a gate asked; the message says why."""


class NotReady(RuntimeError):
    """The service cannot answer with the checkpoint now: it starts, or has too much to do."""


def served(checkpoint: str, case: Case, generation: Generation) -> Draft | None:
    """What `ask` would get from ``checkpoint``, where it is what a user got; None elsewhere.

    A greedy answer is the same however often it is asked for, if nothing but the strings that are
    asked for again ended or shaped it. What was withheld was given up on the way, and what went on
    beyond where it is to end now was sure of more than that.
    """
    if generation.checkpoint != checkpoint or generation.temperature > 0:
        return None
    if generation.endpoint == "chat":  # without its thoughts and calls
        return None
    if generation.finish_reason not in ("stop", "length") or generation.withheld:
        return None
    if "stop" not in generation.shaping or generation.shaping.get("guided_by"):
        return None
    end = ending(case, generation)
    if any(stop in generation.output for stop in end.stop):
        return None
    if generation.finish_reason == "length" and generation.max_tokens != end.max_tokens:
        return None
    if not generation.raw_logprobs:
        return None
    return Draft(generation.output, confidence(generation.raw_logprobs))


class Ending(msgspec.Struct, frozen=True):
    """What ends a draft that is asked for."""

    stop: list[str]
    max_tokens: int

    def digest(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]


def ending(case: Case, generation: Generation) -> Ending:
    """As the recorded answer ended; and at the end of the line, where a user of a completion would
    stop reading there."""
    stop = [one for one in generation.shaping.get("stop", ()) if one not in generation.healed]
    if _is_line(case, generation) and "\n" not in stop and len(stop) < bounds.STOPS:
        stop.append("\n")
    most = generation.max_tokens or 32
    if generation.endpoint == "chat":
        most = min(generation.max_tokens or CHAT_TOKENS, CHAT_TOKENS)
    return Ending(stop, max(most, MARGIN))


def _is_line(case: Case, generation: Generation) -> bool:
    """Whether what the user wanted, or else what is known not to be wanted, is one line."""
    if generation.endpoint == "chat":
        return False
    known = case.truth or case.rejected or generation.output
    return "\n" not in known.rstrip() and "\n" not in generation.healed


async def ask(
    url: str,
    checkpoint: str,
    cases: Sequence[tuple[Case, Generation]],
    *,
    key: str = "",
    concurrency: int,
    drawn: bool = False,
    answered: Callable[[str, Draft], None] | None = None,
) -> dict[str, Draft]:
    """Drafts by generation id: greedy and nothing withheld, or ``drawn``, as warm as the recorded
    ones and silent where those may be, as for their users.

    Prompts go out as the token ids that were served, or as they were asked where those are not
    known; of these, what is too long for this model is not answered. An answer ends where
    `ending` says.
    Calls ``answered`` with each. Raises NotReady, aiohttp.ClientError and TimeoutError, which
    pass, and NotAnswered for a refusal: once what was asked before the first of them is answered,
    too, or has failed.
    """
    gate = asyncio.Semaphore(concurrency)
    failures: list[Exception] = []
    headers = {"x-training-consent": "no", "x-surface": "gate"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    drafts: dict[str, Draft] = {}

    async def one(session: aiohttp.ClientSession, case: Case, generation: Generation) -> None:
        end = ending(case, generation)
        limit = _limit(generation, end)
        body: dict[str, Any] = {
            "model": checkpoint,
            "prompt": generation.prompt_ids or prompt_text(generation),
            "temperature": 0,
            "max_tokens": end.max_tokens,
            "logprobs": 0,
            "silence": drawn and generation.selection is not None,
        }
        if drawn:
            body |= {
                "temperature": generation.temperature,
                "top_p": generation.top_p,
                "seed": zlib.crc32(generation.id.encode()),
            }
        if end.stop:
            body["stop"] = end.stop
        try:
            async with session.post(
                f"{url}/v1/completions", json=body, timeout=aiohttp.ClientTimeout(total=limit)
            ) as response:
                if response.status != 200:
                    why = await response.text()
                    if not generation.prompt_ids and "context_length_exceeded" in why:
                        return  # another model took it: none of ours can be asked
                    error = NotReady if response.status in NOT_READY else NotAnswered
                    raise error(f"{checkpoint} did not answer the gate: {why}")
                choice: dict[str, Any] = (await response.json())["choices"][0]
        except TimeoutError:
            size = prompt_size(generation)
            why = f"{checkpoint} did not answer a prompt of {size} tokens within {limit:.0f} s"
            raise TimeoutError(why) from None
        text: str = choice["text"]
        draft = Draft(text.removeprefix(generation.healed), _confidence(choice))
        drafts[generation.id] = draft
        if answered:
            answered(generation.id, draft)

    async def try_one(session: aiohttp.ClientSession, case: Case, generation: Generation) -> None:
        async with gate:
            if failures:
                return
            try:
                await one(session, case, generation)
            except Exception as error:
                failures.append(error)

    async with (
        aiohttp.ClientSession(headers=headers) as session,
        asyncio.TaskGroup() as group,
    ):
        for case, generation in cases:
            group.create_task(try_one(session, case, generation))
    if failures:
        raise failures[0]
    return drafts


def prompt_size(generation: Generation) -> int:
    """Tokens, or characters where it is asked in words."""
    return len(generation.prompt_ids or prompt_text(generation))


def _limit(generation: Generation, end: Ending) -> float:
    """Seconds that an answer may take."""
    return SECONDS + SECONDS_PER_TOKEN * (prompt_size(generation) + end.max_tokens)


def _confidence(choice: Mapping[str, Any]) -> float:
    """NaN where the engine behind the API does not say how likely its tokens are."""
    told: Sequence[float | None] = (choice.get("logprobs") or {}).get("token_logprobs") or []
    known = [value for value in told if value is not None]
    return confidence(known) if known and len(known) == len(told) else math.nan
