"""What happens in a demo, from the first request to the last proof.

Ask the base model at held-out positions, let replayed developers type while the service learns, ask
every checkpoint that is released at the same positions, and end when one is shown to be better.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from liveweights.child import run_child
from liveweights.replay.client import Client, CycleStatus, RequestFailed, Status
from liveweights.replay.comparison import Comparison, Score
from liveweights.replay.corpus import Corpus, Split
from liveweights.replay.developer import Position
from liveweights.replay.display import Board, Display, percent
from liveweights.replay.measure import Measurement, choose, compare_measurements, measure
from liveweights.replay.plan import Plan, cycle_seconds, forecast, is_enough
from liveweights.replay.proof import Proof, prove
from liveweights.replay.service import Service, ServiceFailed
from liveweights.replay.settings import DemoOptions
from liveweights.replay.traffic import Traffic

START_SECONDS = 240.0
_DEAF_SECONDS = 60.0
"""How long the status may be unreadable before the service counts as gone."""
_CHUNK = 4
"""Held-out files that are asked between two looks at the clock, once the fewest are asked."""
_CALM = 0.1
"""Share of what the machine answers that developers ask for while it computes something else."""
_TURNS = 2
"""Turns of the circle that the forecast speaks of: with two proofs a demo has shown enough."""


@dataclass(frozen=True, slots=True)
class Result:
    """What the closing scorecard is made of."""

    corpus: Corpus
    split: Split
    base: Measurement
    proofs: list[Proof]
    packages: Comparison | None
    status: Status
    released: int
    traffic_seconds: float


@dataclass
class Course:
    """One demo against a running service. ``run`` raises ServiceFailed."""

    service: Service
    client: Client
    options: DemoOptions
    plan: Plan
    board: Board
    display: Display
    proofs: list[Proof] = field(default_factory=list[Proof])
    _first: Status = field(default_factory=Status)
    _rate: float = 1.0
    """Suggestions per second that the machine answers."""
    _told: set[tuple[int, str]] = field(default_factory=set[tuple[int, str]])
    _begun: int = 0
    """Reactions when the last cycle began."""

    async def run(self) -> Result:
        options, board = self.options, self.board
        corpus, split = await self._start()
        files = choose(
            split.held_out_files, options.measure.files, options.measure, options.traffic
        )
        base = await self._measure_base(files)
        outside = choose(
            split.held_out_packages,
            options.measure.package_files,
            options.measure,
            options.traffic,
        )
        base_outside = (
            await self._measure(base.checkpoint, outside, "the base") if outside else None
        )
        self._expect(len(base.positions))

        began = time.monotonic()
        traffic = Traffic(
            self.client,
            split.training,
            model=options.alias or self._first.alias,
            settings=options.traffic,
            tally=board.tally,
        )
        typing = asyncio.create_task(traffic.run())
        try:
            await self._turn(typing, traffic, base)
            board.phase = "finishing requests under way"
            traffic.stop()
            await typing
        finally:
            typing.cancel()
        traffic_seconds = time.monotonic() - began

        packages: Comparison | None = None
        if base_outside is not None and self.proofs:
            last = await self._measure(
                self.proofs[-1].checkpoint, list(base_outside.positions), "what is live"
            )
            packages = compare_measurements(base_outside, last, options.rewards)
        board.status = await self.client.status()
        return Result(
            corpus=corpus,
            split=split,
            base=base,
            proofs=self.proofs,
            packages=packages,
            status=board.status,
            released=self._released(),
            traffic_seconds=traffic_seconds,
        )

    async def _start(self) -> tuple[Corpus, Split]:
        reading = asyncio.create_task(asyncio.to_thread(_read_corpus, self.options))
        showing = asyncio.create_task(self._show_start())
        try:
            await self.service.wait(self.client, START_SECONDS)
            corpus, split = await reading
        finally:
            showing.cancel()
            reading.cancel()
        self._first = self.board.status = await self._first_status()
        return corpus, split

    async def _show_start(self) -> None:
        while True:
            self.board.phase = f"starting: {self.service.last_line()}"[:110]
            await asyncio.sleep(0.3)

    async def _first_status(self) -> Status:
        """The status once the alias answers. Raises ServiceFailed after a minute without."""
        end = time.monotonic() + 60
        why = "the status names no live checkpoint"
        while time.monotonic() < end:
            try:
                status = await self.client.status()
                if status.live:
                    return status
            except RequestFailed as error:
                why = str(error)
            await asyncio.sleep(0.3)
        raise ServiceFailed(f"no model is live: {why}")

    async def _measure_base(self, places: list[Position]) -> Measurement:
        """Ask the base, file by file, at as many positions as the machine answers in half a
        minute; this is also how fast it serves."""
        base, least = self._first.live or "", self.options.measure.least
        size = -(-least // self.options.measure.positions) * self.options.measure.positions
        start = 0
        began = time.monotonic()
        measured: Measurement | None = None
        while start < len(places):
            part = await self._measure(
                base, places[start : start + size], "the base", done=start, total=len(places)
            )
            measured = part if measured is None else measured + part
            start, size = start + size, _CHUNK * self.options.measure.positions
            seconds = time.monotonic() - began
            self._rate = len(measured.positions) / seconds
            if is_enough(len(measured.positions), seconds, least):
                break
        if measured is None:
            raise ServiceFailed("no held-out file is long enough to measure at")
        return measured

    async def _measure(
        self, model: str, places: list[Position], what: str, *, done: int = 0, total: int = 0
    ) -> Measurement:
        def report(count: int) -> None:
            most = f"at most {total}" if total else str(len(places))
            self.board.phase = f"asking {what} at held-out positions: {done + count} of {most}"

        report(0)
        return await measure(
            self.client,
            model,
            places,
            tally=self.board.tally,
            concurrency=self.options.measure.concurrency,
            max_tokens=self.options.traffic.max_tokens,
            report=report,
        )

    def _expect(self, positions: int) -> None:
        """Say how fast the machine is and what that means."""
        plan, rate = self.plan, self._rate
        expected = forecast(plan, rate, positions, _TURNS)
        now = time.monotonic() - self.board.began
        first, end = ((now + seconds) / 60 for seconds in (expected.first, expected.end))
        self.board.expected = f"first release near {first:.1f} min, the end near {end:.1f} min"
        self.display.say(
            f"This machine, with what it has free: {rate:.1f} suggestions per second, "
            f"{plan.train / plan.learn_seconds:.1f} examples learnt per second, "
            f"{plan.threads} thread{'s' if plan.threads > 1 else ''}. A cycle learns from "
            f"{plan.train} examples, is judged on up to {plan.cases} and takes about "
            f"{cycle_seconds(plan, rate):.0f} s. Expect the {self.board.expected}."
        )

    async def _turn(
        self, typing: asyncio.Task[object], traffic: Traffic, base: Measurement
    ) -> None:
        """Let the circle turn until what it released is shown to be better, or time is over."""
        heard = time.monotonic()
        proven = base.checkpoint
        while not self._is_over(proven):
            if not self.service.is_running:
                raise ServiceFailed(f"the service ended during the demo; see {self.service.log}")
            if typing.done():
                return
            try:
                status = self.board.status = await self.client.status()
                heard = time.monotonic()
            except RequestFailed as error:
                if time.monotonic() - heard > _DEAF_SECONDS:
                    raise ServiceFailed(f"no status for {_DEAF_SECONDS:.0f} s: {error}") from error
                await asyncio.sleep(1.0)
                continue
            self.board.released = self._released()
            self._tell(status)
            if status.live and status.live != proven and status.canary is None:
                # A cycle that began now would learn beside the questions: both would take longer.
                proven = status.live
                traffic.hurry(self._rate * _CALM)
                last = await self._measure(proven, list(base.positions), "the released checkpoint")
                self._prove(base, last)
            else:
                await self._steer(status, traffic)
                self._say_phase(status)
                await asyncio.sleep(0.5)

    def _is_over(self, proven: str) -> bool:
        """Whether to end: not while a canary is open, as far as ``most_minutes`` allow, nor before
        what is live was compared with the base."""
        options, status = self.options, self.board.status
        minutes = (time.monotonic() - self.board.began) / 60
        if minutes >= options.most_minutes:
            return True
        clear = sum(proof.is_clear for proof in self.proofs)
        return (
            bool(self.proofs)
            and self.proofs[-1].is_clear
            and status.canary is None
            and status.live == proven
            and self._released() >= options.releases
            and (minutes >= options.minutes or (clear >= _TURNS and not options.long))
        )

    async def _steer(self, status: Status, traffic: Traffic) -> None:
        """Start a cycle when there is enough to learn from; let developers ask as fast as the
        machine answers where answers are what is waited for, and calmly where it learns."""
        eager = status.cycle is None or status.cycle.state == "canary"
        traffic.hurry(max(0.2, self._rate * (1.5 if eager else _CALM)))
        if (
            status.cycle is not None
            or self.board.tally.reactions - self._begun < self.plan.requests
        ):
            return
        self._begun = self.board.tally.reactions
        await begin_cycle(self.service)

    def _say_phase(self, status: Status) -> None:
        cycle = status.cycle
        if cycle is None:
            fresh = self.board.tally.reactions - self._begun
            self.board.phase = (
                f"developers are typing; a cycle begins at {self.plan.requests} reactions: {fresh}"
            )
        else:
            self.board.phase = f"developers are typing; {_DOING.get(cycle.state, cycle.state)}"

    def _tell(self, status: Status) -> None:
        for cycle in status.cycles:
            if cycle.outcome and (cycle.id, cycle.outcome) not in self._told:
                self._told.add((cycle.id, cycle.outcome))
                self.display.moment(tell_cycle(cycle, self.board.tally.reactions))

    def _prove(self, base: Measurement, last: Measurement) -> None:
        proof = prove(base, last, self.options.rewards, len(self.proofs) + 1)
        self.proofs.append(proof)
        self.display.moment(tell_proof(proof))

    def _released(self) -> int:
        return self.board.status.releases - self._first.releases


_DOING = {
    "claiming": "the cycle takes the feedback that is new",
    "learning": "the model learns from their reactions",
    "calibrating": "when to say nothing is fitted to what the candidate would say",
    "warming": "the candidate is loaded beside what is live",
    "gating": "candidate and incumbent answer held-back prompts",
    "canary": "half of the sessions get the candidate",
}


def tell_cycle(cycle: CycleStatus, reactions: int) -> str:
    """One sentence about a cycle that has ended."""
    why = f": {cycle.reason}" if cycle.reason else ""
    if cycle.outcome == "promoted":
        return f"RELEASED {cycle.candidate} (cycle {cycle.id}, {reactions} reactions so far){why}"
    return f"cycle {cycle.id} {cycle.outcome} {cycle.candidate or ''}{why}"


def tell_proof(proof: Proof) -> str:
    """What it shows, with the number of suggestions beside each rate."""
    base, last = proof.comparison.base, proof.comparison.last
    reward = proof.comparison.reward_diff

    def taken(score: Score) -> str:
        rate = percent(score.accept_rate.mean)
        return f"{score.accepted} of {score.shown} suggestions accepted ({rate})"

    return (
        f"{'PROOF' if proof.is_clear else 'not yet shown to be better'}: at {last.positions} "
        f"held-out positions mean reward {reward.mean:+.3f} [{reward.low:+.3f}, "
        f"{reward.high:+.3f}]; {taken(last)}, of the base {taken(base)}"
    )


async def begin_cycle(service: Service) -> None:
    """``liveweights cycle --now``, as an operator would. Raises ServiceFailed."""
    ended = await run_child(service.command("cycle", "--now"), apart=False)
    if ended.code:
        output = ended.messages.strip()[-500:]
        raise ServiceFailed(f"`liveweights cycle --now` ended with {ended.code}: {output}")


def _read_corpus(options: DemoOptions) -> tuple[Corpus, Split]:
    corpus = Corpus.find()
    return corpus, corpus.split(options.traffic.seed)
