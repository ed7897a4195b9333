"""An engine that says what it is told, a record in memory, and a client without a network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import Any

from jinja2 import TemplateError
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from liveweights.agent.tool import Agent
from liveweights.catalog.template import NOTHING, Render, TemplateRefusal, TurnsRefused
from liveweights.catalog.template_host import CONTINUE
from liveweights.engines.protocol import (
    ALL_GUIDANCE,
    EngineError,
    Guidance,
    PromptTooLong,
    Sampling,
    StopReason,
    Token,
    UnknownCheckpoint,
)
from liveweights.engines.text import TextStream
from liveweights.meter.keys import Keys
from liveweights.meter.limits import Limiter
from liveweights.record.backlog import Backlog
from liveweights.record.errors import (
    ConflictingFeedback,
    ConversationTooLong,
    StoreAway,
    TooMuchFeedback,
    UnknownConversation,
    UnknownEpisode,
    UnknownGeneration,
    UnknownItem,
    UnknownResponse,
)
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.record.response import Conversation, StoredResponse
from liveweights.serve.api.app import create_app, make_authenticator
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.models import Models, make_model
from liveweights.serve.router import Router
from liveweights.weights.checkpoint import Checkpoint

BASE = "tiny@000000000000"
NEXT = "tiny@111111111111"
TEMPLATE = (
    "{% for m in messages %}"
    "{% if m['role'] == 'assistant' and loop.first %}"
    "{{ raise_exception('the first message must not be from the assistant') }}{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FIM = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>")


@cache
def make_tokenizer(*, infill: bool = False, template: str = TEMPLATE) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer whose tokens are single bytes. It is shared: never change it."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Backend(models.BPE({char: id for id, char in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>")
    special = ["<|im_start|>", *(FIM if infill else ())]
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.chat_template = template
    return tokenizer


class ScriptedEngine:
    """Answers with ``text`` (after ``skip``), then the end-of-text token; of several texts with one
    after the other, and with the last from then on.

    ``guided`` is whether it follows all that an engine can. ``pause`` is awaited before every
    token; ``fail_at`` raises before that token. ``cuts`` says of how many steps each token told is;
    of one each where it ends.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        text: str | Sequence[str] = "hello",
        *,
        context_length: int = 512,
        pause: Callable[[], Any] | None = None,
        fail_at: int | None = None,
        error: Exception | None = None,
        guided: bool = True,
        cuts: Sequence[int] = (),
    ) -> None:
        self.cuts = cuts
        self.guidance: frozenset[Guidance] = ALL_GUIDANCE if guided else frozenset()
        self.tokenizer = tokenizer
        self.text = text
        self.context_length = context_length
        self.tolerance = 0.0
        self.pause = pause
        self.fail_at = fail_at
        self.error = error or EngineError("the engine broke down")
        self.calls: list[tuple[str, list[int], Sampling]] = []
        self.open = 0
        self.yielded = 0
        self._resident: set[str] = {BASE}

    def resident(self) -> frozenset[str]:
        return frozenset(self._resident)

    async def load(self, checkpoint: Checkpoint, base: Checkpoint | None = None) -> None:
        self._resident.add(checkpoint.id)

    async def unload(self, checkpoint_id: str) -> None:
        self._resident.discard(checkpoint_id)

    async def close(self) -> None:
        self._resident.clear()

    async def generate(
        self, checkpoint_id: str, prompt_ids: Sequence[int], sampling: Sampling
    ) -> AsyncIterator[Token]:
        if checkpoint_id not in self._resident:
            raise UnknownCheckpoint(checkpoint_id)
        if len(prompt_ids) + sampling.max_tokens > self.context_length:
            raise PromptTooLong("too long")
        texts = [self.text] if isinstance(self.text, str) else self.text
        text = texts[min(len(self.calls), len(texts) - 1)]
        self.calls.append((checkpoint_id, list(prompt_ids), sampling))
        ids = self.tokenizer.encode(sampling.skip + text, add_special_tokens=False)
        ids.append(self.tokenizer.eos_token_id)
        stream = TextStream(self.tokenizer, sampling.stop, sampling.skip)
        top = tuple((id, -1.0 - id) for id in range(sampling.top_logprobs))
        self.open += 1
        cuts, left, untold = iter(self.cuts), 1, ""
        try:
            for place, id in enumerate(ids):
                if self.pause is not None:
                    await self.pause()
                if place == self.fail_at:
                    raise self.error
                visible = stream.push(id)
                stop: StopReason | None = None
                if stream.stopped or place == len(ids) - 1:
                    stop = "stop"
                elif place == sampling.max_tokens - 1:
                    stop = "length"
                if stop is not None:
                    visible += stream.finish()
                untold, left = untold + visible, left - 1
                if left > 0 and stop is None:
                    continue
                self.yielded += 1
                yield Token(id, untold, -0.25, -0.5, top, stop)
                if stop is not None:
                    return
                untold, left = "", next(cuts, 1)
        finally:
            self.open -= 1


def render_here(tokenizer: Any) -> Render:
    """As ``catalog.template.rendering``, without a process of its own."""

    def render(
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None = None,
        variables: Mapping[str, Any] = NOTHING,
        /,
    ) -> str:
        try:
            return tokenizer.apply_chat_template(
                messages,
                tools=tools,
                tokenize=False,
                add_generation_prompt=CONTINUE not in variables,
                **variables,
            )
        except TemplateError as error:
            kind = TurnsRefused if type(error) is TemplateError else TemplateRefusal
            raise kind(f"refuses these messages: {error}") from None

    return render


class TemplateHere:
    """The ChatTemplate's promises, without a process of its own."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._render = render_here(tokenizer)

    async def render(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None,
        variables: Mapping[str, Any] = NOTHING,
        /,
    ) -> str:
        return self._render(messages, tools, variables)


class MemoryRecorder:
    """The Writer's promises, without a database."""

    def __init__(self) -> None:
        self.generations: dict[str, Generation] = {}
        self.feedback: dict[tuple[str, str], Feedback] = {}
        self.backlog = Backlog()
        self.most_feedback = 200

    async def add_generation(self, generation: Generation, /) -> None:
        assert generation.id not in self.generations, "recorded twice"
        self.generations[generation.id] = generation

    async def add_feedback(self, feedback: Feedback, /) -> bool:
        generation = self.generations.get(feedback.generation)
        if generation is None or generation.tenant != feedback.tenant:
            raise UnknownGeneration(feedback.generation)
        known = self.feedback.get((feedback.tenant, feedback.id))
        if known is None:
            there = [f for f in self.feedback.values() if f.generation == feedback.generation]
            if len(there) >= self.most_feedback:
                raise TooMuchFeedback(feedback.generation)
            known = self.feedback[feedback.tenant, feedback.id] = feedback
        if known is feedback:
            return True
        said = (feedback.generation, feedback.signal, feedback.value, feedback.text)
        if said != (known.generation, known.signal, known.value, known.text):
            raise ConflictingFeedback(feedback.id)
        return False

    async def steps(self, tenant: str, name: str, /, *, session: bool) -> list[str]:
        steps = [
            g.id
            for g in self.generations.values()
            if g.tenant == tenant
            and (g.session == name if session else g.metadata.get("episode") == name)
        ]
        if not steps:
            raise UnknownEpisode(name)
        return steps

    def only(self) -> Generation:
        (generation,) = self.generations.values()
        return generation


class MemoryResponses:
    """The ResponseStore's promises, without a database."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], StoredResponse] = {}
        self.away = False
        self.full = False
        """Whether it can only be read."""

    def _get(self, tenant: str, id: str) -> StoredResponse:
        if self.away:
            raise StoreAway("the database is away")
        try:
            return self.rows[tenant, id]
        except KeyError:
            raise UnknownResponse(id) from None

    async def reach(self) -> None:
        if self.away:
            raise StoreAway("the database is away")

    async def add(self, response: StoredResponse, /) -> None:
        await self.reach()
        if self.full:
            raise StoreAway("its disk is full")
        self.rows[response.tenant, response.id] = response

    async def read(self, tenant: str, id: str, /) -> dict[str, Any]:
        return self._get(tenant, id).body

    async def asked(self, tenant: str, id: str, /) -> list[dict[str, Any]]:
        return self._get(tenant, id).input

    async def conversation(self, tenant: str, id: str, /) -> list[dict[str, Any]]:
        row = self._get(tenant, id)
        before = await self.conversation(tenant, row.previous) if row.previous else []
        return [*before, *row.input, *row.body["output"]]

    async def outputs(self, tenant: str, ids: Sequence[str], /) -> list[dict[str, Any]]:
        await self.reach()
        there = (self.rows[tenant, id] for id in ids if (tenant, id) in self.rows)
        return [item for row in there for item in row.body["output"]]

    async def episode(self, tenant: str, id: str, /) -> str:
        row = self._get(tenant, id)
        if row.previous:
            return await self.episode(tenant, row.previous)
        return (row.body["metadata"] or {}).get("episode", id)

    async def delete(self, tenant: str, id: str, /) -> None:
        self._get(tenant, id)
        del self.rows[tenant, id]


@dataclass
class MemoryPage:
    items: list[dict[str, Any]]
    more: bool


class MemoryConversations:
    """The ConversationStore's promises, without a database."""

    def __init__(self, responses: MemoryResponses | None = None) -> None:
        self.responses = responses
        self.longest = 4000
        self.rows: dict[tuple[str, str], Conversation] = {}
        self.said: dict[str, dict[str, dict[str, Any]]] = {}
        self.asked: list[datetime | None] = []
        """When, of each time that something was added."""

    def _get(self, tenant: str, id: str) -> Conversation:
        if (tenant, id) not in self.rows:
            raise UnknownConversation(id)
        return self.rows[tenant, id]

    def _item(self, tenant: str, id: str, item: str) -> dict[str, Any]:
        self._get(tenant, id)
        if item not in self.said[id]:
            raise UnknownItem(item)
        return self.said[id][item]

    async def create(self, conversation: Conversation, items: Sequence[dict[str, Any]], /) -> None:
        self.rows[conversation.tenant, conversation.id] = conversation
        self.said[conversation.id] = {}
        await self.add(conversation.tenant, conversation.id, items)

    async def read(self, tenant: str, id: str, /) -> Conversation:
        return self._get(tenant, id)

    async def update(self, tenant: str, id: str, metadata: dict[str, str], /) -> Conversation:
        self.rows[tenant, id] = replace(self._get(tenant, id), metadata=metadata)
        return self.rows[tenant, id]

    async def delete(self, tenant: str, id: str, /) -> None:
        self._get(tenant, id)
        del self.rows[tenant, id], self.said[id]

    async def add(
        self,
        tenant: str,
        id: str,
        items: Sequence[dict[str, Any]],
        /,
        *,
        user: str | None = None,
        asked: datetime | None = None,
        response: StoredResponse | None = None,
    ) -> None:
        self._get(tenant, id)
        self.asked.append(asked)
        new = {item["id"]: item for item in items if item["id"] not in self.said[id]}
        if len(self.said[id]) + len(new) > self.longest:
            raise ConversationTooLong("too long")
        if response is not None:
            assert self.responses is not None
            await self.responses.add(response)
        self.said[id] |= new

    async def check_room(self, tenant: str, id: str, items: Sequence[dict[str, Any]], /) -> None:
        self._get(tenant, id)
        if len(self.said[id].keys() | {item["id"] for item in items}) >= self.longest:
            raise ConversationTooLong("too long")

    async def items(self, tenant: str, id: str, /) -> list[dict[str, Any]]:
        self._get(tenant, id)
        return list(self.said[id].values())

    async def page(
        self, tenant: str, id: str, /, *, limit: int, after: str | None, newest: bool
    ) -> MemoryPage:
        items = await self.items(tenant, id)
        if newest:
            items.reverse()
        if after is not None:
            items = items[items.index(self._item(tenant, id, after)) + 1 :]
        return MemoryPage(items[:limit], len(items) > limit)

    async def read_item(self, tenant: str, id: str, item: str, /) -> dict[str, Any]:
        return self._item(tenant, id, item)

    async def delete_item(self, tenant: str, id: str, item: str, /) -> Conversation:
        self._item(tenant, id, item)
        del self.said[id][item]
        return self._get(tenant, id)


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    def json(self) -> Any:
        return json.loads(self.body)

    def error(self) -> dict[str, Any]:
        error = self.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error

    def events(self) -> list[Any]:
        """Server-sent events, parsed; the closing ``[DONE]`` is checked and left out."""
        *events, done, rest = self.body.decode().split("\n\n")
        assert (done, rest) == ("data: [DONE]", "")
        return [json.loads(event.removeprefix("data: ")) for event in events]


@dataclass
class Api:
    """The application and everything it stands on."""

    engine: ScriptedEngine
    recorder: MemoryRecorder
    router: Router
    app: Any
    responses: MemoryResponses = field(default_factory=MemoryResponses)
    conversations: MemoryConversations = field(default_factory=MemoryConversations)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        return asyncio.run(self.acall(method, path, body, **headers))

    async def acall(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        hang_up: asyncio.Event | None = None,
        answer: Answer | None = None,
        **headers: str,
    ) -> Answer:
        """One request; the client goes away when ``hang_up`` is set."""
        sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body)
        data = sent.encode() if isinstance(sent, str) else sent
        answer = answer or Answer()
        gone = hang_up or asyncio.Event()
        messages = [{"type": "http.request", "body": data, "more_body": False}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                assert not answer.status
                answer.status = message["status"]
                answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            else:
                answer.parts.append(message["body"])

        headers = ({} if body is None else {"content_type": "application/json"}) | headers
        named = [(k.replace("_", "-").encode(), v.encode("latin-1")) for k, v in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "headers": named}
        await self.app(scope, receive, send)
        return answer

    def complete(self, prompt: Any = "say: ", **parameters: Any) -> Answer:
        body = {"model": "tiny", "prompt": prompt, "max_tokens": 64} | parameters
        return self.call("POST", "/v1/completions", body)

    def chat(self, text: str = "hi", **parameters: Any) -> Answer:
        messages = [{"role": "user", "content": text}]
        body = {"model": "tiny", "messages": messages} | parameters
        return self.call("POST", "/v1/chat/completions", body)


def make_api(
    text: str | Sequence[str] = "hello",
    *,
    settings: ApiSettings | None = None,
    infill: bool = False,
    service_key: str = "",
    chat_template: str | None = None,
    keys: Keys | None = None,
    limiter: Limiter | None = None,
    agent: Agent | None = None,
    **engine: Any,
) -> Api:
    other = {} if chat_template is None else {"template": chat_template}
    tokenizer = make_tokenizer(infill=infill, **other)
    scripted = ScriptedEngine(tokenizer, text, **engine)
    recorder = MemoryRecorder()
    router = Router()
    router.set("tiny", BASE)
    responses = MemoryResponses()
    conversations = MemoryConversations(responses)
    app = create_app(
        Models(make_model(scripted, router, tokenizer, template=TemplateHere(tokenizer))),
        recorder,
        settings,
        responses=responses,
        authenticator=make_authenticator(settings or ApiSettings(), service_key, keys=keys),
        limiter=limiter,
        agent=agent,
        conversations=conversations,
    )
    return Api(scripted, recorder, router, app, responses, conversations)
