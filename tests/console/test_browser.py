"""The pages in a real browser: Debian's Chromium, where it is, with Playwright's client."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.release.test_aliases import A, B
from tests.serve.api.doubles import ScriptedEngine, TemplateHere, make_tokenizer
from tests.serve.api.servers import listening, make_server

from liveweights.catalog.licences import Duty
from liveweights.console.entry import Entry
from liveweights.console.models import model_routes
from liveweights.console.pages import Console
from liveweights.cycle import ledger
from liveweights.record.writer import Writer
from liveweights.serve.api.app import create_app, make_authenticator
from liveweights.serve.api.models import Listing
from liveweights.serve.api.profile import LicenceTold, Profile
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.hosted.models import HostedModels
from liveweights.serve.models import Models, make_model
from liveweights.serve.router import Router
from liveweights.store.database import Connection, Pool, open_pool
from liveweights.terms.current import Terms
from liveweights.weights.checkpoint import Checkpoint

from .story import KEY, LOGIN, SUBJECT, make_console, tell

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="the extra 'browser' is missing")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}


PROFILE = Profile(
    maker="<b>us</b>",
    country="FR",
    licence=LicenceTold(id="MIT", kind="open"),
    duties=(Duty(kind="display-name", text="Show <i>it</i>.", threshold="always"),),
)


async def make_service(pool: Pool, writer: Writer) -> tuple[Any, Console]:
    """The API with an engine that knows a few sentences, and the console beside it."""
    tokenizer, router = make_tokenizer(), Router()
    engine = ScriptedEngine(tokenizer, ("<b>hello</b> you", "two", "three", '{"city": "Łódź"}'))
    await engine.load(Checkpoint(B, "adapter", Path("/"), A, A))
    router.set("m", B)
    router.resident([A, B])
    models = Models(make_model(engine, router, tokenizer, template=TemplateHere(tokenizer)))
    settings = ApiSettings(operator_key=KEY)
    listing = Listing(models, HostedModels(), Terms(), profiles={"m": PROFILE})
    subject = replace(SUBJECT, known=listing.read)
    console, _ = make_console(pool, writer, subject=subject)
    entry = Entry(pool, make_authenticator(settings), settings)
    pages = [*console.routes(), *model_routes(listing, entry)]
    return create_app(models, writer, settings, listing=listing, pages=pages), console


@contextmanager
def serving(dsn: str) -> Iterator[str]:
    """The service on a story that is told, on a port of its own, in a thread."""
    ready = threading.Event()
    with listening() as (sock, url):

        async def serve() -> None:
            pool = await open_pool(dsn)
            await tell(pool, datetime.now(UTC))
            async with Writer(pool, linger=0.0) as writer:
                app, console = await make_service(pool, writer)
                server = make_server(app)
                stopping.append((asyncio.get_running_loop(), server, console))
                ready.set()
                await server.serve(sockets=[sock])
            await pool.close()

        stopping: list[Any] = []
        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        try:
            assert ready.wait(240)
            yield url.removesuffix("/v1")
        finally:
            loop, server, console = stopping[0]
            loop.call_soon_threadsafe(console.feed.close)
            server.should_exit = True
            thread.join()


@pytest.fixture
def site(database_dsn: str) -> Iterator[str]:
    with serving(database_dsn) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def open_page(browser: Any, site: str, **options: Any) -> tuple[Any, list[str]]:
    """A page that has signed in, and whatever it complains about."""
    context = browser.new_context(
        base_url=site,
        timezone_id="Asia/Kolkata",
        locale="en-GB",
        **options,
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    page.goto("/")
    page.get_by_label("Name").fill(LOGIN[0])
    page.get_by_label("Password").fill(KEY)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()
    return page, complaints


def move_on(dsn: str) -> None:
    async def begin() -> None:
        async with await Connection.connect(dsn) as conn:
            await ledger.advance(conn, await ledger.begin(conn, "m", {}), "learning")

    # Playwright has an event loop in this thread.
    begun = threading.Thread(target=lambda: asyncio.run(begin()))
    begun.start()
    begun.join()


def say(page: Any, message: str) -> None:
    """In the playground, until all has been answered."""
    if not page.url.endswith("/playground"):
        page.goto("/playground")
    page.get_by_label("Message").fill(message)
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_text("Answered.", exact=True).wait_for()


def answers_of(page: Any, text: str) -> list[dict[str, Any]]:
    """Answers with this text, newest first, as programs see them."""
    listed = page.context.request.get("/answers.json", params={"text": text}).json()["answers"]
    return [page.context.request.get(f"/answers/{one['id']}.json").json() for one in listed]


def test_an_operator_walks_the_path_and_goes_back(
    browser: Any, site: str, database_dsn: str
) -> None:
    page, complaints = open_page(browser, site, viewport=DESK)
    page.goto("/")
    path = page.get_by_role("navigation", name="From an answer to what made it")
    assert path.get_by_role("listitem").count() == 7
    # Times are the viewer's, with UTC on hover.
    first = page.locator("time").first
    assert first.get_attribute("title").endswith("UTC")
    assert "UTC" not in first.inner_text()
    page.locator("[data-plot] canvas").wait_for()
    # The circle moves while somebody looks, without a reload.
    move_on(database_dsn)
    page.get_by_text("learning from them").wait_for()
    assert page.locator("[aria-current=step]").inner_text() == "learning"
    path.get_by_role("link").first.click()
    page.get_by_role("heading", name="What was asked").wait_for()
    page.get_by_role("link", name="Cycle 1", exact=False).first.click()
    page.get_by_role("heading", name="Verdict").wait_for()
    page.get_by_role("link", name="return to", exact=False).click()
    page.get_by_label("Why").fill("<b>users</b> complain")
    page.get_by_role("button", name="Make it live again").click()
    page.get_by_text(f"{A} is live.").wait_for()
    assert page.get_by_role("cell", name="<b>users</b> complain").count() == 1
    assert not complaints


def test_what_is_said_in_the_playground_is_known_of_the_answer(browser: Any, site: str) -> None:
    page, complaints = open_page(browser, site, viewport=DESK)
    page.goto("/playground")
    page.get_by_label("Message").fill("<i>greet</i> me")
    page.keyboard.press("Control+Enter")
    page.get_by_text("Answered.").wait_for()
    assert page.locator(".answered .said").first.inner_text() == "<b>hello</b> you"
    assert page.locator(".by").inner_text() == B
    page.get_by_role("button", name="Bad").click()
    page.get_by_text("Recorded.").wait_for()
    page.get_by_text("Say what it should have been").click()
    page.get_by_label("It should have been").fill("good day")
    with page.expect_response("**/v1/feedback") as answer:
        page.get_by_role("button", name="Send the correction").click()
    assert answer.value.ok
    page.get_by_role("link", name="All that is known of it").click()
    page.get_by_role("heading", name="What was said of it").wait_for()
    assert page.locator(".reaction").all_inner_texts()[1].endswith("good day")
    assert page.get_by_text("No cycle has read it.").count() == 1
    assert not complaints


def test_of_two_answers_in_the_blind_one_is_taken(browser: Any, site: str) -> None:
    page, complaints = open_page(browser, site, viewport=DESK)
    page.goto("/playground")
    known = page.locator(".known:visible")
    assert "maker <b>us</b>, country FR, licence MIT" in known.locator("summary").inner_text()
    known.locator("summary").click()
    assert known.get_by_text("display-name: Show <i>it</i>. [always]").count() == 1
    assert page.locator("#blind").is_disabled()
    page.get_by_label("And beside it by").select_option(B)
    page.get_by_label("Blind", exact=False).check()
    say(page, "which?")
    sides = page.locator(".answered:visible")
    assert sides.count() == 2
    for place in (0, 1):
        told = sides.nth(place).inner_text()
        assert B not in told
        assert "As a program" not in told
    taken = sides.nth(1).locator(".said").inner_text()
    # In either order: of two that are asked at once, either may be answered first.
    assert {taken, sides.nth(0).locator(".said").inner_text()} == {"<b>hello</b> you", "two"}
    with page.expect_response("**/v1/feedback"):
        sides.nth(1).get_by_role("button", name="Take this one").click()
    page.get_by_text("It goes on with the one that you took.").wait_for()
    assert {sides.nth(place).locator("h2").inner_text() for place in (0, 1)} == {"m", B}
    for place, signal in ((0, "rejected"), (1, "accepted")):
        address = sides.nth(place).locator(".seen").get_attribute("href")
        known_of = page.context.request.get(f"{address}.json").json()
        assert known_of["output"] == sides.nth(place).locator(".said").inner_text()
        assert [one["signal"] for one in known_of["feedback"]] == [signal]
    # The conversation goes on with it.
    page.get_by_label("And beside it by").select_option("")
    with page.expect_request("**/v1/chat/completions") as request:
        say(page, "and now?")
    messages = request.value.post_data_json["messages"]
    assert [one["content"] for one in messages] == ["which?", taken, "and now?"]
    assert not complaints


def test_tokens_tell_how_likely_they_were(browser: Any, site: str) -> None:
    page, complaints = open_page(browser, site, viewport=DESK)
    say(page, "go on")
    said = page.locator(".said")
    assert said.inner_text() == "<b>hello</b> you"
    assert said.locator(".t").count() == len("<b>hello</b> you")
    said.locator(".t").first.hover()
    line = page.locator(".token")
    assert line.inner_text().startswith("Token 1 of 16: “<” ")
    assert "instead: " in line.inner_text()
    said.focus()
    page.keyboard.press("ArrowRight")
    assert line.inner_text().startswith("Token 2 of 16: “b” ")
    page.get_by_label("Probability of each token").uncheck()
    say(page, "and on")
    assert page.locator(".said").nth(1).locator(".t").count() == 0
    assert not complaints


def test_an_answer_is_edited_and_what_is_left_is_told(browser: Any, site: str) -> None:
    page, complaints = open_page(browser, site, viewport=DESK)
    say(page, "go on")
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("What is left of it").fill("hello")
    page.get_by_role("button", name="Send what is left").click()
    page.get_by_text("Recorded.").wait_for()
    assert page.locator(".said").inner_text() == "hello"
    (one,) = answers_of(page, "hello</b>")
    assert [(f["signal"], f["text"]) for f in one["feedback"]] == [("edited", "hello")]
    assert not complaints


def test_a_schema_is_asked_for_and_what_is_wrong_with_it_is_said(browser: Any, site: str) -> None:
    page, complaints = open_page(browser, site, viewport=DESK)
    page.goto("/playground")
    page.get_by_text("Instructions, tools, JSON schema").click()
    page.get_by_label("JSON schema of the answer").fill('{"type": "object"')
    page.get_by_label("Message").fill("where?")
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_text("The schema is not JSON", exact=False).wait_for()
    assert page.get_by_label("Message").input_value() == "where?"
    page.get_by_label("JSON schema of the answer").fill('{"type": "object"}')
    page.get_by_label("Tools, as a JSON list").fill("{}")
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_text("The tools are not a JSON list", exact=False).wait_for()
    page.get_by_label("Tools, as a JSON list").fill("")
    with page.expect_request("**/v1/chat/completions") as request:
        say(page, "where?")
    asked = request.value.post_data_json
    assert asked["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert not complaints


def test_what_was_asked_is_copied_and_runs_as_a_program(
    browser: Any, site: str, tmp_path: Path
) -> None:
    page, complaints = open_page(browser, site, viewport=DESK)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/playground")
    page.get_by_text("Instructions, tools, JSON schema").click()
    page.get_by_label("Instructions", exact=True).fill('It\'s "kind" 😀 \\ $HOME `id`')
    say(page, "say\n'it'")
    page.get_by_text("As a program").click()
    page.get_by_role("button", name="Copy as Python").click()
    page.get_by_role("button", name="Copied").wait_for()
    program = tmp_path / "asked.py"
    program.write_text(page.evaluate("navigator.clipboard.readText()"))
    page.get_by_role("button", name="Copy as curl").click()
    command = page.locator(".curl").inner_text()
    for words, wanted in (
        ([sys.executable, str(program)], "two\n"),
        (["sh", "-c", command], '"content":"three"'),
    ):
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert wanted in done.stdout, done.stderr
    asked: list[dict[str, Any]] = []
    deadline = time.monotonic() + 60
    while not asked:  # an answer is on record a moment after it has been given
        assert time.monotonic() < deadline, "the last answer has not been recorded"
        asked = answers_of(page, "three")
    asked += answers_of(page, "two") + answers_of(page, "hello</b>")
    assert [one["output"] for one in asked] == ["three", "two", "<b>hello</b> you"]
    assert len({one["prompt_tokens"] for one in asked}) == 1
    assert not complaints


def test_two_browsers_see_what_each_other_does(browser: Any, site: str, database_dsn: str) -> None:
    one, complaints = open_page(browser, site, viewport=DESK)
    other, more = open_page(browser, site, viewport=PHONE)
    one.goto("/")
    other.goto("/")
    move_on(database_dsn)
    for page in (one, other):
        page.get_by_text("learning from them").wait_for()
    one.goto("/cycles")
    one.get_by_label("Why learning is to pause").fill("<i>a launch</i> \u202eبسم\u202c 😀")
    one.get_by_role("button", name="Pause").click()
    other.get_by_text("<i>a launch</i>", exact=False).wait_for()
    # What the other one's page is older than cannot be done, and says why.
    other.goto("/releases")
    for page in (one, other):
        page.goto("/releases")
    for page in (one, other):
        page.locator("#reason").fill("both at once")
        page.get_by_role("button", name="Make it live again").click()
    one.get_by_text(f"{A} is live.").wait_for()
    other.get_by_text("read it again", exact=False).wait_for()
    assert not complaints
    assert not [line for line in more if "409" not in line]


def test_words_of_a_million_characters_stay_words(browser: Any, site: str) -> None:
    page, complaints = open_page(browser, site, viewport=PHONE)
    say(page, "go on")
    page.get_by_text("Say what it should have been").click()
    words = "<script>alert(1)</script>\u202eبسم\u202c😀" + "x" * 250_000
    page.get_by_label("It should have been").fill(words)
    page.get_by_role("button", name="Send the correction").click()
    page.get_by_text("Recorded.").wait_for()
    page.get_by_role("link", name="All that is known of it").click()
    page.get_by_text("characters; the JSON form has all of them", exact=False).first.wait_for()
    (one,) = answers_of(page, "hello</b>")
    assert one["feedback"][0]["text"] == words
    line = "<img src=x onerror=alert(1)>" + "y" * 1_000_000
    refused = page.context.request.post(
        "/v1/feedback", data={"generation": one["id"], "signal": "comment", "text": line}
    )
    assert refused.status == 400
    for address in (f"/answers/{one['id']}", f"/conversations/{one['id']}", "/answers"):
        page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
        assert page.evaluate("document.documentElement.outerHTML.length") < 100_000
    assert not complaints


def test_lists_grow_by_keyboard(browser: Any, site: str) -> None:
    page, complaints = open_page(browser, site, viewport=DESK)
    page.goto("/answers")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator("#list > li").count() == 51
    page.locator(".more").focus()
    page.keyboard.press("Enter")
    page.locator("#list > li:nth-child(61)").wait_for()
    page.locator("#list > li:nth-child(51) a.excerpt:focus").wait_for()
    assert page.locator("#list > li").count() == 61
    assert page.url.endswith("/answers")
    assert not complaints


def test_what_cannot_be_fetched_is_said_beside_what_was_clicked(browser: Any, site: str) -> None:
    page, _ = open_page(browser, site, viewport=DESK)
    page.goto("/answers")
    fails = "**/answers?*before=*"
    page.route(fails, lambda route: route.abort())
    page.locator(".more").click()
    page.get_by_role("alert").get_by_text("The service cannot be reached.").wait_for()
    page.unroute(fails)
    wrong = '{"error": {"message": "ask for <b>less</b>"}}'
    page.route(fails, lambda route: route.fulfill(status=408, body=wrong))
    page.locator(".more").click()
    page.get_by_role("alert").get_by_text("ask for <b>less</b>").wait_for()
    page.unroute(fails)
    page.locator(".more").click()
    page.locator("#list > li:nth-child(61)").wait_for()
    assert page.get_by_role("alert").count() == 0


def test_a_view_that_is_not_live_says_since_when(browser: Any, site: str) -> None:
    page, _ = open_page(browser, site, viewport=DESK)
    page.route("**/live?*", lambda route: route.fulfill(status=401))
    page.goto("/")
    stale = page.get_by_role("alert").get_by_text("Not live since")
    stale.wait_for()
    page.get_by_role("link", name="Sign in again").wait_for()
    page.unroute("**/live?*")
    stale.wait_for(state="hidden")


def test_what_was_said_in_vain_is_sent_again_as_the_same(browser: Any, site: str) -> None:
    page, _ = open_page(browser, site, viewport=DESK)
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.goto("/playground")
    say(page, "hello")
    ids: list[str] = []

    def fail(route: Any) -> None:
        ids.append(route.request.post_data_json["id"])
        route.abort() if len(ids) == 1 else route.continue_()

    page.route("**/v1/feedback", fail)
    for words in ("The service cannot be reached", "Recorded.", "Recorded."):
        page.get_by_role("button", name="Good").click()
        page.get_by_text(words).wait_for()
        page.wait_for_timeout(200)
    assert ids[0] == ids[1] != ids[2]
    page.get_by_text("As a program").click()
    page.get_by_role("button", name="Copy as curl").click()
    page.get_by_role("button", name="Selected").wait_for()
    assert page.evaluate("getSelection().toString()").startswith("curl ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_for_everyone(browser: Any, site: str, scheme: str) -> None:
    page, complaints = open_page(browser, site, viewport=PHONE, color_scheme=scheme)
    say(page, "hello")
    page.goto("/answers")
    hostile = page.get_by_role("link", name="<script>alert(1)", exact=False).first
    address = hostile.get_attribute("href")
    for path in (
        *("/", "/answers", address, "/checkpoints", f"/checkpoints/{B}", "/cycles", "/cycles/1"),
        *("/releases", "/playground", "/?model=upstream", "/lineage", "/scoreboard"),
        address.replace("answers", "conversations"),
        *("/comparison", f"/comparison?left={A}&right={B}", "/models", "/models/m"),
        *("/users", "/audit", "/answers/nothing", "/login"),
        *("/episodes", "/exposure", "/exposure?without=maker%3DHugging%20Face", "/adoption"),
        *("/bills", "/bills/m", "/databases", "/usage", "/budgets", "/invoices", "/keys"),
    ):
        page.goto(path)
        if path == "/playground":
            say(page, "hello")
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{path} is wider than a phone"
        report = axe.Axe().run(page)
        serious = [
            f"{one['id']}: {one['nodes'][0]['html']}"
            for one in report.response["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert not serious, path
    assert not [one for one in complaints if "404" not in one]  # of the page that is not there
