"""Whether an alias goes over to another base, and how it comes back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from liveweights.catalog.licences import Duty
from liveweights.config import Config
from liveweights.cycle import ledger, switching
from liveweights.cycle.bases import Switch, read_bases, read_switch
from liveweights.cycle.held_back import read_suite
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.lessons import Lessons
from liveweights.cycle.next_turn import read_next
from liveweights.cycle.settings import CycleSettings
from liveweights.cycle.switching import Refused, Wish, decide, passes
from liveweights.cycle.trial import Trial, note_trial
from liveweights.cycle.worker import Worker
from liveweights.gate.verdict import Evidence, Verdict
from liveweights.learn.job import RESULT, WEIGHTS, Job, Report, Result, read_job
from liveweights.learn.settings import LearnSettings
from liveweights.record.window import count
from liveweights.release import ancestry, canaries, moves
from liveweights.release.alias import AliasError
from liveweights.terms.criteria import Candidate
from liveweights.terms.current import Terms
from liveweights.terms.facts import Facts, Origin
from liveweights.terms.rows import read_denials
from liveweights.terms.rules import Conditions, Rule
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import read_cards, register

from .product import BASE, GOOD, Product, write_base
from .test_trial import SUITE, bring
from .test_worker import on_product

NEW = f"new@{BASE.rpartition('@')[2]}"
SWITCH = Switch(base=NEW, model="/models/new", former=BASE, former_model="old", reason="cheaper")
CONFIG = Config(
    cycle=CycleSettings(rest=0.0, min_feedback=10_000), learn=LearnSettings(held_back_share=0.5)
)
WISH = Wish(alias="code", model="/models/new", stands=BASE, asked=NEW)
OPEN = Cycle(
    *(7, "code", "learning", BASE, None, None, None),
    {"switch": msgspec.to_builtins(SWITCH)},
    *(None, None),
)


def test_a_base_that_may_be_served_is_gone_to() -> None:
    assert decide(WISH) == "begins"
    learning = replace(OPEN, learning=None)
    assert decide(replace(WISH, open=learning)) == "begins"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"asked": None, "absent": "there is no such folder"}, "not at hand: there is no such"),
        ({"asked": BASE}, "stands on base@"),
        ({"denied": {"load": "it is not looked at yet (rule a)"}}, "do not allow to load"),
        (
            {"denied": {"release": "its licence does not allow commercial use (rule b)"}},
            "its licence does not allow commercial use",
        ),
        ({"chats": True, "can_chat": False}, "no chat template"),
        ({"open": OPEN, "asked": "third@000000000000"}, "--back"),
    ],
)
def test_refusals_say_what_is_wrong(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused, match=said):
        decide(replace(WISH, **changes))


def test_asked_again_a_switch_goes_on() -> None:
    assert decide(replace(WISH, open=OPEN)) == "goes on"


@pytest.mark.parametrize(
    ("outcome", "is_enough"), [("PASS", True), ("INCONCLUSIVE", True), ("FAIL", False)]
)
def test_evidence_of_harm_is_enough_against_it(outcome: Any, is_enough: bool) -> None:
    verdict = Verdict(outcome=outcome, reasons=(), evidence=Evidence())
    assert passes(verdict) == is_enough


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """What a learner that learns at once was given."""
    jobs: list[Job] = []

    async def learn(folder: Any) -> None:
        jobs.append(read_job(folder / "job.json"))
        write_base(folder / WEIGHTS)
        (folder / WEIGHTS / "adapter_config.json").write_text("{}")
        taught = sum(bool(one.generation.prompt) for one in jobs[-1].train)
        report = Report(signals={}, roles={"preference": taught}, rows=taught, taught=taught)
        result = Result(report=report, held_back=[], baseline_weight={}, baseline_total={})
        (folder / RESULT).write_bytes(msgspec.json.encode(result))

    monkeypatch.setattr("liveweights.cycle.learning.run_learner", learn)
    return jobs


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old base's tokenizer."""

    class Tokenizer:
        all_special_ids = ()
        chat_template = None

        def decode(self, ids: list[int], **_: Any) -> str:
            return " ".join(f"word-{one}" for one in ids)

    monkeypatch.setattr("liveweights.cycle.translation.read_tokenizer", lambda _: Tokenizer())


async def go_over(product: Product) -> None:
    """The alias is switched, and what it was taken to is live."""
    cycle = await begin(product)
    async with product.pool.connection() as conn:
        await canaries.start_canary(conn, "code", NEW, 0.5, reason="r", across=True)
        await moves.promote(conn, "code", NEW, cycle=cycle.id, reason="good")
        await conn.execute(
            "update cycles set state = 'ended', outcome = 'promoted', candidate = %s,"
            " ended_at = now() where id = %s",
            (NEW, cycle.id),
        )


async def begin(product: Product) -> Cycle:
    async with product.pool.connection() as conn:
        folder = write_base(product.home / "new")
        await register(conn, Checkpoint(NEW, "base", folder), {"licence": "MIT"})
        return await switching.begin(conn, product.config.for_worker(), SWITCH)


@pytest.mark.database
def test_what_users_said_is_learnt_again_in_words(
    database_dsn: str, tmp_path: Any, jobs: list[Job], decoded: None
) -> None:
    async def test(product: Product) -> None:
        await product.use(12)
        worker = product.worker()
        first = await worker.turn(now=True)  # what a cycle has read is read again
        assert first is not None
        cycle = await begin(product)
        assert cycle.id > first.id
        async with product.pool.connection() as conn:
            assert (await ledger.get(conn, "code", first.id)).outcome == "cancelled"
        for state in ("learning", "calibrating", "warming"):
            cycle = await worker.turn()
            while cycle is not None and read_switch(cycle) is None:
                cycle = await worker.turn()
            assert cycle is not None
            assert cycle.state == state, cycle.reason
        job = jobs[-1]
        assert job.base == str(product.home / "new")
        assert job.parent is None
        assert job.train
        for example in (*job.train, *job.held_back):
            assert example.generation.prompt == '{"prompt":"word-1"}'
            assert not example.generation.prompt_ids
            assert not example.generation.logprobs
        async with product.pool.connection() as conn:
            assert await ancestry.root_of(conn, cycle.candidate or "") == NEW
            standing = (await read_bases(conn))["code"]
            assert (standing.stands, standing.tries) == (BASE, NEW)
            _, attempt = await read_next(conn, product.config.for_worker())
        assert attempt.seed == 1  # for the one that was cancelled; the switch says nothing

    on_product(database_dsn, tmp_path, test, CONFIG)


@pytest.mark.database
def test_what_the_former_base_answered_judges_in_words(
    database_dsn: str, tmp_path: Any, decoded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Job] = []

    async def score(folder: Any) -> None:
        jobs.append(read_job(folder / "job.json"))
        result = Result(
            report=Report(signals={}), held_back=[], baseline_weight={}, baseline_total={}
        )
        (folder / RESULT).write_bytes(msgspec.json.encode(result))

    monkeypatch.setattr("liveweights.cycle.scoring.run_learner", score)

    async def test(product: Product) -> None:
        await product.use(12)
        await go_over(product)
        theirs = await bring(product, NEW)
        async with product.pool.connection() as conn:
            trial = note_trial(Trial(needs="no harm", reason="a user was forgotten"))
            cycle = await ledger.begin_trial(conn, "code", theirs.id, trial)
        worker = product.worker()
        for _ in range(2):
            await worker.turn()
        (job,) = jobs
        assert job.held_back
        for example in job.held_back:
            assert example.generation.checkpoint == BASE
            assert (example.generation.prompt, example.generation.prompt_ids) == (
                '{"prompt":"word-1"}',
                [],
            )
        async with product.pool.connection() as conn:
            for asked, prompt in (
                ((theirs.id, NEW), "word-1"),
                ((BASE, GOOD), [1]),
                ((BASE, NEW), "word-1"),
                ((BASE, "unknown@000000000000"), "word-1"),
            ):
                cases = await read_suite(conn, "code", cycle.id, asked, **SUITE, share=0.5)
                assert cases
                assert all(case.prompt == prompt for case in cases)

    on_product(database_dsn, tmp_path, test, CONFIG)


@pytest.mark.database
def test_rules_look_at_the_base_that_answered_and_at_the_one_that_is_gone_to(
    database_dsn: str, tmp_path: Any, jobs: list[Job], decoded: None
) -> None:
    ban = Duty(kind="output-training", text="no other model may learn from its answers")
    name = Duty(kind="derivative-naming", text="its name begins with 'Dear'")

    def on(*duties: Duty, country: str) -> Facts:
        licence = Origin(name="o/x", country=country, licence="LicenseRef-Own", duties=duties)
        return Facts(name="code", origins=(licence,))

    abroad = Conditions(country=("CN",))
    rule = Rule(name="home", when=("release",), on=abroad, then="deny", reason="stays")

    async def test(product: Product) -> None:
        terms = Terms([Candidate(facts=on(country="FR"))], [rule])
        terms.know_on({("code", NEW): on(name, country="CN")})
        await product.use(12)
        cycle = await begin(product)
        settings, url = product.config.for_worker(), "http://127.0.0.1:1"
        worker = Worker(product.pool, settings, product.home, url, terms=terms)
        assert await worker.steps.gating._deny_release(cycle) == (
            "terms do not allow a release: stays (country CN) (rule home)"
        )
        for _ in range(2):
            await worker.turn()
        assert jobs[-1].train
        candidate = (await worker.turn() or cycle).candidate
        async with product.pool.connection() as conn:
            card = (await read_cards(conn, [candidate or ""]))[candidate or ""]
            assert card["owed"] == ["its name begins with 'Dear'"]
            await ledger.restart(conn, [cycle.id], "again")
        terms.replace([Candidate(facts=on(ban, country="FR"))])
        assert Lessons(terms, "code", BASE).may_learn("code", "default", BASE)
        cycle = await worker.turn() or cycle
        assert (cycle.state, read_switch(cycle)) == ("learning", SWITCH)
        async with product.pool.connection() as conn:
            assert (await count(conn, cycle.id)).total == 0
            denied = [(one.model, one.action, one.rule) for one in await read_denials(conn)]
        assert denied == [("code", "learn", "output-training"), ("code", "release", "home")]

    on_product(database_dsn, tmp_path, test, CONFIG)


@pytest.mark.database
def test_where_a_user_is_forgotten_meanwhile_it_begins_anew(
    database_dsn: str, tmp_path: Any
) -> None:
    async def test(product: Product) -> None:
        first = await begin(product)
        async with product.pool.connection() as conn:
            await ledger.restart(conn, [first.id], "a user was forgotten")
        again = await product.worker().turn()
        assert again is not None
        assert again.id > first.id
        assert read_switch(again) == SWITCH

    on_product(database_dsn, tmp_path, test, CONFIG)


def test_one_command_goes_back(database_dsn: str, tmp_path: Any) -> None:
    async def test(product: Product) -> None:
        async with product.pool.connection() as conn:
            with pytest.raises(AliasError, match="nothing to go back to"):
                await switching.go_back(conn, "code", reason="?")
        first = await begin(product)
        async with product.pool.connection() as conn:
            assert (await switching.go_back(conn, "code", reason="no")).live == BASE
            assert (await ledger.get(conn, "code", first.id)).outcome == "cancelled"
        await go_over(product)
        async with product.pool.connection() as conn:
            standing = (await read_bases(conn))["code"]
            assert (standing.stands, standing.tries) == (NEW, None)
            assert standing.models == {NEW: "/models/new", BASE: "old"}
            assert await ledger.has_switched(conn, "code")
            assert (await switching.go_back(conn, "code", reason="users complain")).live == BASE
            assert (await read_bases(conn))["code"].stands == BASE

    on_product(database_dsn, tmp_path, test, CONFIG)
