"""The pages in a real browser: Debian's Chromium, where it is, with Playwright's client."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.release.test_aliases import A, B
from tests.serve.api.doubles import ScriptedEngine, TemplateHere, make_tokenizer
from tests.serve.api.servers import listening, make_server

from liveweights.console.pages import Console
from liveweights.cycle import ledger
from liveweights.record.writer import Writer
from liveweights.serve.api.app import create_app
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.models import Models, make_model
from liveweights.serve.router import Router
from liveweights.store.database import Connection, open_pool
from liveweights.weights.checkpoint import Checkpoint

from .story import KEY, LOGIN, make_console, tell

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="the extra 'browser' is missing")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}


async def make_service(writer: Writer, console: Console) -> Any:
    """The API with an engine that knows one sentence, and the console beside it."""
    tokenizer, router = make_tokenizer(), Router()
    engine = ScriptedEngine(tokenizer, "<b>hello</b> you")
    await engine.load(Checkpoint(B, "adapter", Path("/"), A, A))
    router.set("m", B)
    model = make_model(engine, router, tokenizer, template=TemplateHere(tokenizer))
    settings = ApiSettings(operator_key=KEY)
    return create_app(Models(model), writer, settings, pages=console.routes())


@contextmanager
def serving(dsn: str) -> Iterator[str]:
    """The service on a story that is told, on a port of its own, in a thread."""
    ready = threading.Event()
    with listening() as (sock, url):

        async def serve() -> None:
            pool = await open_pool(dsn)
            await tell(pool, datetime.now(UTC))
            async with Writer(pool, linger=0.0) as writer:
                console, _ = make_console(pool, writer)
                server = make_server(await make_service(writer, console))
                stopping.append((asyncio.get_running_loop(), server, console))
                ready.set()
                await server.serve(sockets=[sock])
            await pool.close()

        stopping: list[Any] = []
        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        try:
            assert ready.wait(60)
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
    assert page.locator(".answered pre").first.inner_text() == "<b>hello</b> you"
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_for_everyone(browser: Any, site: str, scheme: str) -> None:
    page, complaints = open_page(browser, site, viewport=PHONE, color_scheme=scheme)
    page.goto("/answers")
    hostile = page.get_by_role("link", name="<script>alert(1)", exact=False).first
    address = hostile.get_attribute("href")
    for path in (
        *("/", "/answers", address, "/checkpoints", f"/checkpoints/{B}", "/cycles", "/cycles/1"),
        *("/releases", "/playground", "/?model=upstream"),
        *("/episodes", "/exposure", "/exposure?without=maker%3DHugging%20Face", "/adoption"),
        *("/bills", "/bills/m", "/databases", "/usage", "/budgets", "/invoices", "/keys"),
    ):
        page.goto(path)
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{path} is wider than a phone"
        report = axe.Axe().run(page)
        serious = [
            f"{one['id']}: {one['nodes'][0]['html']}"
            for one in report.response["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert not serious, path
    assert not complaints
