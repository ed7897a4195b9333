"""The paths for answers, where some of the models are hosted ones."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from liveweights.http.authentication import Authenticator
from liveweights.http.errors import RETRY, ApiError
from liveweights.http.exchange import deadline_of
from liveweights.http.wire import ClientGone, read_json
from liveweights.meter.charges import Counts
from liveweights.meter.keys import Client
from liveweights.meter.limits import Limiter, LimitReached, Permit
from liveweights.serve.api.arrival import Arrival, with_arrival
from liveweights.serve.api.caller import Caller, identify
from liveweights.serve.api.choice import Choices
from liveweights.serve.api.names import model_header
from liveweights.serve.api.needs import read_body_needs
from liveweights.serve.api.recorder import Recorder
from liveweights.serve.api.refusals import unavailable
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.api.unknown import header_of
from liveweights.serve.gateway.answer import Answer
from liveweights.serve.gateway.counts import count_bytes, read_prompt_tokens
from liveweights.serve.gateway.delivery import Delivery, is_readable, pass_on
from liveweights.serve.gateway.listener import Listener, while_heard
from liveweights.serve.gateway.metrics import GatewayMetrics
from liveweights.serve.gateway.objects import find_target, may_refer
from liveweights.serve.gateway.passage import Passage
from liveweights.serve.gateway.question import EMBEDDINGS, RECORDED, Question, read_question
from liveweights.serve.gateway.reservation import estimate, reserve_affordable
from liveweights.serve.gateway.transcript import LONGEST
from liveweights.serve.gateway.upstream import UpstreamAway
from liveweights.serve.hosted.body import read_asked, with_model
from liveweights.serve.hosted.headers import answer_headers, ask_headers, mask
from liveweights.serve.hosted.model import Hosted
from liveweights.serve.hosted.models import HostedModels
from liveweights.serve.models import Models
from liveweights.terms.needs import NOTHING
from liveweights.terms.roster import AUTO

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """What the paths share."""

    hosted: HostedModels
    models: Models
    recorder: Recorder
    settings: ApiSettings
    metrics: GatewayMetrics
    authenticator: Authenticator
    limiter: Limiter
    choices: Choices


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request whose body has been read. ``hosted`` are the models of its chain that are. Without
    ``caller`` its answer is no generation, and without ``question`` nobody counts it."""

    scope: Scope
    body: bytes
    hosted: Mapping[str, Hosted]
    client: Client
    permit: Permit
    caller: Caller | None
    question: Question | None


class Door:
    """Requests for hosted models go to their upstreams, and all others to the ``local`` endpoint.

    Until the first byte of an answer has come, the next model of the chain is asked in place of
    one that is away, says that it has too much to do (429), or fails (5xx). Who asks, what
    the key has left and until when is looked at here, once, for local models too.
    """

    def __init__(self, service: Service, local: ASGIApp) -> None:
        self._service = service
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        if not len(service.hosted):
            await self._local(scope, receive, send)
            return
        client = await service.authenticator.authenticate(scope, use="answers", own=True)
        deadline = deadline_of(Headers(scope=scope), service.settings.deadline_seconds)
        permit = await service.limiter.begin(client)
        try:
            body = await read_json(scope, receive, service.settings.max_body_bytes)
            names = self._choose(client, scope["path"], body)
            if not client.own:
                with service.hosted.hold(names) as hosted:
                    if hosted:
                        arrival = Arrival(client, permit, deadline, names)
                        name = await self._pass(scope, receive, send, body, arrival, hosted)
                        if name is None:
                            return
                        behind = names[names.index(name) + 1 :]
                        names = (name, *(one for one in behind if one not in hosted))
            arrived = with_arrival(scope, Arrival(client, permit, deadline, names))
            await self._local(arrived, _again(body, receive), send)
        finally:
            permit.close()

    def _choose(self, client: Client, path: str, body: bytes) -> tuple[str, ...]:
        """Empty where it names no model, which the local endpoint tells the caller. Raises
        ApiError."""
        asked = read_asked(body)
        if asked is None:
            return ()
        chosen = asked.model == AUTO and path in RECORDED
        needs = read_body_needs(body) if chosen else NOTHING
        return self._service.choices.choose(client, asked.model, asked.route, needs)

    async def _pass(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        body: bytes,
        arrival: Arrival,
        hosted: Mapping[str, Hosted],
    ) -> str | None:
        """None once it has been answered, else the local model that it goes on to. ``hosted`` are
        those that may answer. Raises ApiError, LimitReached, LeasesAway, ClientGone."""
        first, settings = arrival.names[0], self._service.settings
        if first not in hosted and self._can_be_asked(hosted, first):
            return first
        client, permit = arrival.client, arrival.permit
        path = scope["path"]
        counted = path in RECORDED or path == EMBEDDINGS
        question = read_question(body, path) if counted else None
        caller: Caller | None = None
        if question is not None and path in RECORDED:
            question.check()
            said = Headers(scope=scope)
            caller = identify(said, question.user, question.said, client, settings, strict=False)
        asked = _Asked(scope, body, hosted, client, permit, caller, question)
        chain = await self._reach(asked, arrival.names)
        if question is not None:
            chain = await reserve_affordable(permit, question, chain, longest=self._longest)
        streams = question is None or question.streams
        listener = Listener(send, streams=streams, rest=settings.abandoned_seconds)
        async with while_heard(receive, listener, arrival.deadline):
            return await self._ask_in_turn(asked, chain, listener)
        return None  # nobody waits for it any more

    async def _reach(self, asked: _Asked, chain: Sequence[str]) -> Sequence[str]:
        """The part of ``chain`` that can know the objects which the request names. Raises
        ApiError 400, 404, 503."""
        first = asked.hosted.get(chain[0])
        if first is None:
            return chain[:1] if may_refer(asked.body) else chain
        access = first.access
        if access is None:
            return chain
        path = asked.scope["path"]
        named = await access.check_body(asked.client.tenant, path, asked.body)
        return chain[:1] if named else chain

    async def _ask_in_turn(self, asked: _Asked, chain: Sequence[str], send: Listener) -> str | None:
        """None once one has answered, else the local model whose turn it is. Raises ApiError 502
        where none answers, LimitReached where the last has spent its budget, LeasesAway,
        ClientGone where one breaks off."""
        place = self._next(asked, chain, 0)
        fault: ApiError | LimitReached = _resting(chain[0], asked.hosted)
        while place is not None and not send.gone:
            model = asked.hosted.get(chain[place])
            if model is None:
                return chain[place]
            rest = chain[place + 1 :]
            outcome = await self._ask(model, asked, rest, send)
            if outcome is None:
                return None
            fault, place = outcome, self._next(asked, chain, place + 1)
        raise fault

    def _next(self, asked: _Asked, chain: Sequence[str], start: int) -> int | None:
        """The first place from ``start`` on whose model can be asked now."""
        places = range(start, len(chain))
        return next((at for at in places if self._can_be_asked(asked.hosted, chain[at])), None)

    def _can_be_asked(self, hosted: Mapping[str, Hosted], name: str) -> bool:
        model = hosted.get(name)
        if model is not None:
            return model.breaker.admits(_now())
        return self._service.models.can_answer(name)

    async def _ask(
        self, model: Hosted, asked: _Asked, rest: Sequence[str], send: Listener
    ) -> ApiError | LimitReached | None:
        """None once the model has answered, if with an error that none of the ``rest`` can be
        asked to make up for; else what is said where nobody answers. Raises LeasesAway."""
        try:
            await self._spend(model, asked)
        except LimitReached as spent:
            return spent
        passage = self._passage(model, asked)  # whose time begins before the upstream is asked
        settings = model.settings
        body, ignored = with_model(asked.body, settings.model, settings.quirks)
        trial = model.breaker.begin()
        async with AsyncExitStack() as stack:
            try:
                answer = await _begin(stack, model, asked, body)
            except (UpstreamAway, aiohttp.ClientError, TimeoutError) as error:
                model.breaker.failed(_now(), trial=trial)
                log.warning("the upstream of %s does not answer: %s", model.alias, error)
                return _away(model.alias)
            except BaseException:
                model.breaker.left(trial=trial)
                raise
            status = answer.head.status
            if status != 429 and status < 500:
                model.breaker.succeeded()
            else:
                model.breaker.failed(_now(), trial=trial)
                log.warning("the upstream of %s answers %d", model.alias, status)
                if self._next(asked, rest, 0) is not None:
                    return _away(model.alias)
            await self._deliver(answer, model, asked, send, passage=passage, ignored=ignored)
        return None

    def _passage(self, model: Hosted, asked: _Asked) -> Passage | None:
        """None where its answer is no generation."""
        if asked.question is None or asked.caller is None:
            return None
        path = asked.scope["path"]
        return Passage(
            asked.question.put_to(model.alias),
            RECORDED[path],
            asked.caller,
            find_target(path).kind,
            name_version=model.note_version,
        )

    async def _spend(self, model: Hosted, asked: _Asked) -> None:
        """Reserve the most that the answer can cost of the model's own budgets. Raises
        LimitReached, LeasesAway."""
        budgets, question = model.settings.budgets, asked.question
        if budgets and question is not None:
            prompt, output = estimate(question, longest=self._longest)
            await asked.permit.spend(model.alias, budgets, prompt, output)

    @property
    def _longest(self) -> int:
        return self._service.settings.max_chat_tokens

    async def _deliver(
        self,
        answer: Answer,
        model: Hosted,
        asked: _Asked,
        send: Listener,
        *,
        passage: Passage | None,
        ignored: Sequence[str],
    ) -> None:
        """From the first byte on; ``ignored`` was left out of what was asked. Raises ClientGone
        when the upstream breaks off, or where nothing was sent yet, ApiError 502."""
        tenant = asked.client.tenant
        told = self._service.choices.headers(model.alias, tenant)
        own = [
            model_header(model.alias),
            *told,
            *header_of(ignored),
            *asked.permit.headers(),
        ]
        headers = answer_headers(answer.head.raw_headers, model.key, own)
        try:
            if answer.head.status >= 400:
                await _deliver_error(answer, model, headers, send)
                return
            service = self._service
            delivery = Delivery(service.recorder, service.metrics, model.access)
            if passage is None and asked.question is not None:
                await _deliver_embeddings(answer, model, asked, asked.question, headers, send)
                return
            if passage is None or not is_readable(answer):
                await delivery.deliver(answer, headers, send, None)
                return
            try:
                await delivery.deliver(answer, headers, send, passage)
            finally:
                await delivery.settle(passage, asked.permit, abandoned=send.abandoned)
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("the upstream of %s broke off its answer: %s", model.alias, error)
            if send.started:
                raise ClientGone from error  # the connection is cut, as it was cut for us
            raise _broken(model.alias) from error


def _resting(name: str, hosted: Mapping[str, Hosted]) -> ApiError:
    model = hosted.get(name)
    if model is None:
        return unavailable(f"The model {name!r} cannot answer at the moment.")
    seconds = max(1, math.ceil(model.breaker.wait(_now())))
    message = (
        f"The model {name!r} cannot answer at the moment: its upstream has failed several "
        f"times and is asked again in {seconds} s."
    )
    return _unavailable(message, ((b"retry-after", str(seconds).encode()),))


async def _begin(stack: AsyncExitStack, model: Hosted, asked: _Asked, body: bytes) -> Answer:
    """The answer to ``body`` whose first byte has come. Raises UpstreamAway, aiohttp.ClientError,
    TimeoutError."""
    scope = asked.scope
    target = scope["path"]
    if query := scope.get("query_string"):
        target += "?" + query.decode("ascii")
    headers = ask_headers(scope["headers"], model.key, model.settings.quirks)
    streams = asked.question is not None and asked.question.streams
    settings = model.settings
    async with asyncio.timeout(settings.timeout if streams else settings.answer_timeout):
        answer = await stack.enter_async_context(model.upstream.ask("POST", target, headers, body))
        await answer.begin()
    return answer


async def _deliver_embeddings(
    answer: Answer,
    model: Hosted,
    asked: _Asked,
    question: Question,
    headers: list[tuple[bytes, bytes]],
    send: Send,
) -> None:
    """They are charged by what the upstream has counted of the prompt, and where it has not, or
    breaks off, by an estimate."""
    now = datetime.now(UTC)
    asked.permit.charge(model.alias, Counts(question.count_prompt(count_bytes), 0), now)
    body = await answer.whole(LONGEST)
    if answer.ended and (told := read_prompt_tokens(body)) is not None:
        asked.permit.charge(model.alias, Counts(told, 0), now)
    await pass_on(answer, headers, send, body)


async def _deliver_error(
    answer: Answer, model: Hosted, headers: list[tuple[bytes, bytes]], send: Send
) -> None:
    """An upstream may repeat the key that it refuses: that is masked."""
    body = await answer.whole(LONGEST)
    if not answer.ended:
        raise _broken(model.alias)
    await pass_on(answer, headers, send, mask(body, model.key))


def _again(body: bytes, receive: Receive) -> Receive:
    """``receive`` as it was before ``body`` was read."""
    unread = [body]

    async def read() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        return await receive()

    return read


def _now() -> float:
    return asyncio.get_running_loop().time()


def _away(name: str) -> ApiError:
    return _unavailable(f"The model {name!r} cannot answer at the moment: its upstream is away.")


def _broken(name: str) -> ApiError:
    return _unavailable(f"The upstream of the model {name!r} broke off its answer; ask again.")


def _unavailable(message: str, headers: tuple[tuple[bytes, bytes], ...] = RETRY) -> ApiError:
    code = "upstream_unavailable"
    return ApiError(502, message, type="server_error", code=code, headers=headers)
