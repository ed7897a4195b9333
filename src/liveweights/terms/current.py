"""The rules of use as they are in force in one process, and what was denied by them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import MappingProxyType

from psycopg.pq import TransactionStatus

from liveweights.store.database import Connection, Pool
from liveweights.store.faults import note_fault
from liveweights.terms.criteria import Candidate
from liveweights.terms.decision import ALLOWED, Decision, Match, Override, Question
from liveweights.terms.evaluation import evaluate
from liveweights.terms.facts import Facts
from liveweights.terms.needs import NOTHING, Needs
from liveweights.terms.purposes import find_purpose
from liveweights.terms.roster import AUTO, NONE, NoModelFits, Roster
from liveweights.terms.route import ANY, Route
from liveweights.terms.rows import add_denials, read_overrides
from liveweights.terms.rules import Action, Learner, Rule

log = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds between two looks at the overrides, and until a denial is a row."""
MOST_WAITING = 10_000
"""Denials that wait for a database that is away."""
KEPT = 50_000
"""Questions that are kept; when there are more, all are made anew."""
NOBODY: Mapping[str, str] = MappingProxyType({})


class Terms:
    """What the rules say today of the models of a service, and which of them may answer.

    ``purposes`` are by tenant; ``closed`` are models that were not loaded, by the rule that denied
    it. Every denial that is asked for waits here for ``renewed``. A model that is not among
    ``candidates`` may be used for anything. For use from one event loop.
    """

    def __init__(
        self,
        candidates: Iterable[Candidate] = (),
        rules: Sequence[Rule] = (),
        *,
        purposes: Mapping[str, str] = NOBODY,
        closed: Mapping[str, Match] = NONE,
    ) -> None:
        self._candidates = tuple(candidates)
        self._rules = rules
        self._purposes = purposes
        self._closed = closed
        self._overrides: tuple[Override, ...] = ()
        self._questions: dict[tuple[Action, str | None, Learner], Question] = {}
        self._day = datetime.now(UTC).date()
        self._denied: list[tuple[str, Question, Decision]] = []
        self._elsewhere: dict[tuple[str, str], Facts] = {}
        self.roster = self._make()

    def ask(
        self, action: Action, tenant: str | None = None, learner: Learner = "itself"
    ) -> Question:
        """What the rules are asked today (UTC)."""
        day = datetime.now(UTC).date()
        if day != self._day or len(self._questions) >= KEPT:
            self._questions.clear()
            self._day = day
        key = (action, tenant, learner)
        question = self._questions.get(key)
        if question is None:
            purpose = find_purpose(self._purposes, tenant)
            question = self._questions[key] = Question(
                action=action, day=day, tenant=tenant, purpose=purpose, learner=learner
            )
        return question

    def decide(self, model: str, question: Question, base: str | None = None) -> Decision:
        """A look, of which nothing is kept. ``base`` is the id of what the model is on there, of
        which the facts are looked at where ``know_on`` gave them."""
        if model not in self.roster:
            return ALLOWED
        if base is not None and (facts := self._elsewhere.get((model, base))) is not None:
            return evaluate(self._rules, facts, question, overrides=self._overrides)
        return self.roster.book.decide(model, question)

    def permit(self, model: str, question: Question, base: str | None = None) -> Match | None:
        """The rule that denies it, which becomes a row; None: it may be done. See ``decide``."""
        decision = self.decide(model, question, base)
        if decision.outcome != "deny":
            return None
        self._note(model, question, decision)
        return decision.decided_by

    def choose(
        self, model: str, tenant: str | None, route: Route = ANY, needs: Needs = NOTHING
    ) -> tuple[str, ...]:
        """The models that may answer, the first choice first: see ``Roster.choose``.

        That the terms deny what was asked for becomes a row. Raises NoSuchModel, NoModelFits.
        """
        question = self.ask("route", tenant)
        try:
            names = self.roster.choose(model, question, route, needs)
        except NoModelFits as error:
            for name in dict.fromkeys(one.model for one in error.removed):
                self._note_denial(name, question)
            raise
        if model not in (AUTO, names[0]):
            self._note_denial(model, question)
        return names

    def override(self, overrides: Iterable[Override]) -> None:
        """These are in force from now on, and no others."""
        given = tuple(overrides)
        if given != self._overrides:
            self._overrides = given
            self.roster = self._make()

    def know_on(self, facts: Mapping[tuple[str, str], Facts]) -> None:
        """Facts of models on other bases than they stand on, by public name and base."""
        self._elsewhere = dict(facts)

    def replace(
        self, candidates: Iterable[Candidate], closed: Mapping[str, Match] | None = None
    ) -> None:
        """These are the service's models from now on, as they are now known; ``closed`` None: those
        that were not loaded are the same."""
        given = tuple(candidates)
        shut = self._closed if closed is None else dict(closed)
        if given != self._candidates or shut != self._closed:
            self._candidates = given
            self._closed = shut
            self.roster = self._make()

    async def renew(self, conn: Connection) -> None:
        """Read the overrides that are in force today."""
        kept = await read_overrides(conn, datetime.now(UTC).date())
        self.override(one.override for one in kept)

    @asynccontextmanager
    async def renewed(self, conn: Connection) -> AsyncGenerator[None]:
        """A transaction, the only one of ``conn``, by the overrides in force today; at its end each
        denial since the last time becomes a row. Where it is not committed they go on waiting."""
        assert conn.info.transaction_status != TransactionStatus.INTRANS, (
            "a savepoint commits nothing"
        )
        denied: list[tuple[str, Question, Decision]] = []
        try:
            async with conn.transaction():
                await self.renew(conn)
                yield
                denied, self._denied = self._denied, []
                await add_denials(conn, denied)
        except BaseException:
            self._denied = [*denied, *self._denied]
            raise

    def _make(self) -> Roster:
        return Roster(self._candidates, self._rules, overrides=self._overrides, closed=self._closed)

    def _note_denial(self, model: str, question: Question) -> None:
        if (match := self._closed.get(model)) is not None:
            loading = self.ask("load", question.tenant)
            self._note(model, loading, Decision(outcome="deny", decided_by=match))
            return
        decision = self.decide(model, question)
        if decision.outcome == "deny":
            self._note(model, question, decision)

    def _note(self, model: str, question: Question, decision: Decision) -> None:
        if len(self._denied) < MOST_WAITING:
            self._denied.append((model, question, decision))
        else:
            log.error("a denial is lost, %d wait: %s, %s", MOST_WAITING, model, decision)


@asynccontextmanager
async def kept(terms: Terms, pool: Pool) -> AsyncGenerator[Terms]:
    """``terms``, which meanwhile follow what the database says, and at the end are written."""
    keeping = asyncio.create_task(_keep(terms, pool))
    try:
        yield terms
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await _renew(terms, pool)


async def _keep(terms: Terms, pool: Pool) -> None:
    while True:
        await _renew(terms, pool)
        await asyncio.sleep(PAUSE)


async def _renew(terms: Terms, pool: Pool) -> None:
    try:
        async with pool.connection() as conn, terms.renewed(conn):
            pass
    except Exception as error:
        # Whatever it was, requests go on by what is known, and the next look may find it mended.
        note_fault(log, error, "overrides of terms are as they were, and denials wait")
