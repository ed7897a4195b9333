"""A response whose tools the server runs: the model and its tools take turns until it has answered.

Each answer of the model is a generation of one episode, recorded and billed as any other.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

import msgspec

from liveweights.agent.calls import Outcome
from liveweights.agent.decision import Bounds, End, Move, Spent, next_move, refuse_call, tell_last
from liveweights.agent.tool import Agent
from liveweights.engines.protocol import EngineError, Token
from liveweights.http.errors import ApiError, internal, limit_reached, unsupported
from liveweights.http.exchange import Exchange
from liveweights.http.streaming import EventStream
from liveweights.http.wire import ClientGone, RawHeaders, reply
from liveweights.meter.limits import LimitReached
from liveweights.meter.money import NANOS
from liveweights.record.generation import EPISODE
from liveweights.record.response import generation_of, response_of
from liveweights.serve.api.admission import charge, turn
from liveweights.serve.api.answer import Service, Settle, generate, head_of, settled
from liveweights.serve.api.caller import Caller
from liveweights.serve.api.chat import prepare
from liveweights.serve.api.draft import Draft
from liveweights.serve.api.identifiers import make_id
from liveweights.serve.api.messages import Message
from liveweights.serve.api.offers import Choice, ToolUse
from liveweights.serve.api.refusals import CONTEXT_EXCEEDED, from_engine
from liveweights.serve.api.responses.items import Item, to_messages
from liveweights.serve.api.responses.kept import storable
from liveweights.serve.api.responses.objects import make_response
from liveweights.serve.api.responses.request import ResponsesRequest
from liveweights.serve.api.responses.served import Kit, choose, open_kits, run_call
from liveweights.serve.api.responses.shape import ResponseShape, ServedCall
from liveweights.serve.api.responses.tools import Served, read_served, served_labels
from liveweights.serve.api.toolbox import Toolbox
from liveweights.serve.models import Model
from liveweights.serve.router import Pin

log = logging.getLogger(__name__)
LEAST_LEFT = 1.0
"""Seconds before a request's deadline in which no further step begins."""
Keep = Callable[[ResponseShape, Draft], Awaitable[None]]


def find_served(request: ResponsesRequest, agent: Agent | None, exchange: Exchange) -> list[Served]:
    """The sets of tools that the server is to run. Where it runs none they are left out, as is a
    choice of what is not offered; both are named. Raises ApiError 400."""
    asked = read_served(request.tools or ())
    served = asked if agent is not None else []
    left_out = [f"{one.at}.type" for one in asked if one not in served]
    labels = [one.label for one in served]
    if any(label not in labels for label in served_labels(request.tool_choice)):
        left_out.append("tool_choice.type")
    for at in left_out:
        if exchange.strict:
            raise unsupported(at, f"Tools of this type cannot be run here ({at}).")
    exchange.ignored += left_out
    return served


@dataclass(slots=True)
class Telling:
    """Where events go: to the client as they come, or nowhere, where it waits for the whole."""

    exchange: Exchange
    streamed: bool
    head: RawHeaders = ()
    events: EventStream | None = None

    async def tell(self, events: Sequence[bytes]) -> None:
        if self.streamed:
            if self.events is None:
                self.events = EventStream(self.exchange.send, self.head)
            await self.events.write(b"".join(events))


@dataclass(slots=True, kw_only=True)
class Episode:
    """One response, from the model's first answer to its last."""

    service: Service
    agent: Agent
    request: ResponsesRequest
    caller: Caller
    exchange: Exchange
    model: Model
    pin: Pin
    messages: list[Message]
    """What was said before the first step."""
    kits: list[Kit]
    use: ToolUse
    bounds: Bounds
    telling: Telling
    shape: ResponseShape
    drafts: list[Draft] = field(default_factory=list[Draft])
    spent: Spent = field(default_factory=Spent)

    async def run(self, first: str, keep: Keep) -> None:
        """All steps, of which the first is the generation ``first``, until the response is complete
        and kept.

        Raises ApiError, EngineError, LimitReached, ClientGone.
        """
        try:
            end = await self._take_steps(first)
        except BaseException:
            await self._record(None)  # what was said whole stays so
            raise
        self.shape.finish(self.drafts, end)
        await self._record(lambda: keep(self.shape, self.drafts[0]))

    async def _record(self, settle: Settle) -> None:
        """The last step, if it is not yet recorded, once ``settle`` has passed."""
        if self.drafts and self.drafts[-1].pending:
            try:
                await settled(self.service, self.drafts[-1], settle)
            finally:
                charge(self.exchange, self.drafts)
        elif settle is not None:
            await settle()

    async def _record_asking(self, draft: Draft) -> None:
        """A step that was sampled and asks for calls that are made here: they may take long, and
        the service may end meanwhile. Only one without can be the last word, with which the
        response is kept."""
        if draft.reason is not None and self.shape.has_calls:
            await self._record(None)

    async def _take_steps(self, first: str) -> End | None:
        """The bound that ended them."""
        move: Move = "act"
        while True:
            try:
                step = await self._prepare(first if not self.drafts else None)
            except ApiError as error:
                if not self.drafts or error.code != CONTEXT_EXCEEDED:
                    raise
                return "max_output_tokens"
            await self._sample(step)
            calls = self.shape.take_calls()
            if not calls and step.reason == "stop":
                return None
            made: list[tuple[ServedCall, Outcome]] = []
            for call in calls:
                await self._tell(made)
                made = [(call, await self._call(call, self._refuse(step, move)))]
            following = self._follow(step, move)
            if following == "conclude":
                made = [(call, replace(o, output=tell_last(o.output))) for call, o in made]
            await self._tell(made)
            if following not in ("act", "conclude"):
                return following
            move = following

    async def _tell(self, made: Sequence[tuple[ServedCall, Outcome]]) -> None:
        for call, outcome in made:
            await self.telling.tell(self.shape.called(call, outcome))

    def _refuse(self, step: Draft, move: Move) -> str | None:
        """Why no call of a step is made any more; None where they are."""
        if step.reason == "length":
            return "the answer was cut off"
        return "no further tool can be called" if move == "conclude" else None

    async def _call(self, call: ServedCall, refused: str | None) -> Outcome:
        """Raises ClientGone, ApiError 408."""
        name = call.offer.function.name
        why = refused or refuse_call(self.bounds, self.spent, name, call.arguments)
        self.spent.count(name, call.arguments)
        left = self.bounds.ends - _now()
        if why is None and left <= 0:
            why = "there is no time left"
        if why is not None:
            return Outcome(f"error: {why}", True)
        settings = self.agent.settings
        outcome = Outcome("", True)
        async with self.exchange.waited_for() as watch:
            outcome = await run_call(
                self.kits,
                call.offer,
                call.arguments,
                seconds=min(settings.call_seconds, left),
                characters=settings.characters,
            )
        if watch.gone:
            raise ClientGone
        return outcome

    def _follow(self, step: Draft, move: Move) -> Move | End | None:
        """What follows a step that was not the model's last word."""
        if step.reason == "length":
            return "max_time" if step.late else "max_output_tokens"
        if self.shape.asked_client:
            return None
        if move == "conclude":
            return "max_tool_calls"
        return next_move(self.bounds, self.spent, _now())

    async def _prepare(self, id_: str | None) -> Draft:
        """The next step, of which nothing is sampled yet."""
        # A model may well say what no item can hold.
        output = storable(msgspec.to_builtins(self.shape.response.output))
        said = msgspec.convert(output, list[Item])
        messages = [*self.messages, *to_messages(said, "output")]
        chat = self.request.as_chat(messages)
        left = max(1, self.bounds.tokens - self.spent.tokens)
        longest = left
        if chat.max_completion_tokens is None:
            longest = min(left, self.service.settings.max_chat_tokens)
        elif not self.drafts:
            chat.max_completion_tokens = min(chat.max_completion_tokens, left)
        else:
            chat.max_completion_tokens = None  # what is left of it, as far as there is room
        use = self.use
        if self.drafts and use.choice.mode == "required":
            use = replace(use, choice=Choice())  # one call was asked for, not one at each step
        (draft,), toolbox = await prepare(
            self.service,
            chat,
            self.caller,
            self.pin,
            self.exchange,
            model=self.model,
            use=use,
            wish=self.request.wish(),
            param="input",
            longest=longest,
        )
        draft.id = id_ or draft.id
        draft.seconds = self.bounds.ends - _now()
        self.shape.begin_step(toolbox, draft)
        return draft

    async def _sample(self, draft: Draft) -> None:
        shape, exchange = self.shape, self.exchange
        async with turn(self.service, self.caller, [draft], exchange, before=tuple(self.drafts)):
            if not self.drafts:
                self.telling.head = head_of(self.service, [draft], exchange)
                await self.telling.tell(shape.begin())
                for kit in self.kits:
                    await self.telling.tell(shape.list_tools(kit))
            self.drafts.append(draft)

            async def tell(draft: Draft, token: Token) -> None:
                events = shape.token(draft, token)
                await self._record_asking(draft)  # before the last token is given
                await self.telling.tell([events])

            emit = tell if self.telling.streamed else None
            async with exchange.waited_for() as watch:
                await generate(self.service, draft, emit, watch, hold=True)
            if watch.gone:
                raise ClientGone
        if emit is None:
            shape.read(draft)
            await self._record_asking(draft)
        await self.telling.tell(shape.end_step(draft))
        self.spent.steps += 1
        self.spent.tokens += len(draft.tokens)
        self.spent.nanos += draft.cost()


def _now() -> float:
    return asyncio.get_running_loop().time()


def find_bounds(agent: Agent, request: ResponsesRequest, deadline: float) -> Bounds:
    """What the settings and the request allow, before the request's ``deadline``."""
    settings = agent.settings
    return Bounds(
        steps=settings.steps,
        calls=min(settings.calls, request.max_tool_calls or settings.calls),
        repeats=settings.repeats,
        tokens=min(settings.tokens, request.max_output_tokens or settings.tokens),
        nanos=round(settings.cost * NANOS) or None,
        ends=min(_now() + settings.seconds, deadline - LEAST_LEFT),
    )


def name_episode(caller: Caller, first: str) -> Caller:
    """All steps are of one episode, and on one side of the split, whatever the caller says."""
    name = caller.metadata.get(EPISODE, response_of(first))
    session = caller.session or (None if caller.user else generation_of(name))
    return replace(caller, session=session, metadata={**caller.metadata, EPISODE: name})


async def answer_with_tools(
    service: Service,
    agent: Agent,
    request: ResponsesRequest,
    caller: Caller,
    exchange: Exchange,
    *,
    model: Model,
    pin: Pin,
    messages: list[Message],
    served: Sequence[Served],
    keep: Keep,
) -> None:
    """Answer ``messages``; ``keep`` is awaited before the last byte. Raises ApiError and others
    while nothing has been sent."""
    first = make_id("gen")
    caller = name_episode(caller, first)
    telling = Telling(exchange, bool(request.stream))
    async with AsyncExitStack() as stack:
        kits: list[Kit] = []
        async with exchange.waited_for() as watch:
            kits = await open_kits(agent, served, caller.tenant, stack)
        if watch.gone:
            return
        use = request.tool_use()
        offers = [*use.offers, *(offer for kit in kits for offer in kit.offers())]
        choice = choose(use.choice, request.tool_choice, offers)
        episode = Episode(
            service=service,
            agent=agent,
            request=request,
            caller=caller,
            exchange=exchange,
            model=model,
            pin=pin,
            messages=messages,
            kits=kits,
            use=replace(use, offers=offers, choice=choice),
            bounds=find_bounds(agent, request, exchange.deadline),
            telling=telling,
            shape=_make_shape(request, first, caller, model, pin, kits),
        )
        try:
            await episode.run(first, keep)
        except ClientGone:
            return
        except (ApiError, EngineError, LimitReached) as error:
            if telling.events is None:
                raise as_told(error) from error
            log.warning("%s broke off: %s", first, error)
            await telling.events.close(episode.shape.broken(as_told(error)))
            return
        except Exception:
            if telling.events is not None:
                await telling.events.close(episode.shape.broken(internal()))
            raise
        if telling.events is not None:
            await telling.events.close(episode.shape.end(episode.drafts))
        else:
            await reply(exchange.send, 200, episode.shape.whole(episode.drafts), telling.head)


def as_told(error: ApiError | EngineError | LimitReached) -> ApiError:
    if isinstance(error, EngineError):
        return from_engine(error)
    return limit_reached(error) if isinstance(error, LimitReached) else error


def _make_shape(
    request: ResponsesRequest,
    first: str,
    caller: Caller,
    model: Model,
    pin: Pin,
    kits: Sequence[Kit],
) -> ResponseShape:
    response = make_response(request, response_of(first), int(time.time()), pin.checkpoint, first)
    response.episode = caller.metadata[EPISODE]
    return ResponseShape(
        response,
        model.tokenizer,
        Toolbox(),
        logprobs=request.logprobs,
        summarised=request.summarised,
        code=[kit.served.label for kit in kits if kit.served.code],
    )
