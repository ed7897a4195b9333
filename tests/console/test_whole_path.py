"""From a fresh `liveweights up` to a rollback, in a real browser, on real weights, with the service
killed under the page."""

from __future__ import annotations

import asyncio
import re
import shutil
from typing import Any

import pytest
from tests.circle.service import Running, running

playwright = pytest.importorskip("playwright.async_api", reason="the extra 'browser' is missing")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    *(pytest.mark.model, pytest.mark.fault, pytest.mark.slow, pytest.mark.timeout(3600)),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
PASSWORD = "correct horse battery staple"
BETTER = "<script>alert(1)</script> \u202eبسم\u202c 😀"


async def become_admin(page: Any, run: Running) -> None:
    """By the link that the first start printed."""
    link = re.search(r"https?://\S+/invite\?token=\S+", run.service.log.read_text())
    assert link is not None
    await page.goto(link[0])
    for field in await page.locator("input[type=password]").all():
        await field.fill(PASSWORD)
    await page.locator("main button").click()
    await page.get_by_role("button", name="Sign out").wait_for()


async def chat(page: Any) -> str:
    """Ask, dislike the answer, say what it should have been; the address of the answer's page."""
    await page.goto("/playground")
    await page.get_by_label("As", exact=True).select_option("completion")
    await page.get_by_label("At most, tokens").fill("6")
    await page.get_by_label("Message").fill("def total(values):\n    result =")
    await page.get_by_role("button", name="Send", exact=True).click()
    await page.get_by_text("Answered.", exact=True).wait_for()
    await page.get_by_role("button", name="Bad").click()
    await page.get_by_text("Recorded.").wait_for()
    await page.get_by_text("Say what it should have been").click()
    await page.get_by_label("It should have been").fill(BETTER)
    async with page.expect_response("**/v1/feedback") as told:
        await page.get_by_role("button", name="Send the correction").click()
    assert (await told.value).ok
    return await page.get_by_role("link", name="All that is known of it").get_attribute("href")


async def walk(run: Running, browser: Any) -> None:
    url = run.service.url.removesuffix("/v1")
    contexts = [await browser.new_context(base_url=url) for _ in range(2)]
    page, other = [await context.new_page() for context in contexts]
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    # The one looks without a password, as anybody on the machine; the other becomes the admin.
    await other.goto("/")
    assert await other.get_by_text("nobody has a password yet").count() == 1
    await become_admin(page, run)
    answer = await chat(page)
    await page.goto("/answers?signal=correction")
    await page.locator(f'a[href="{answer}"]').first.click()
    await page.get_by_text(BETTER[:25]).wait_for()
    # Since there is a user, everybody signs in.
    await other.reload()
    await other.get_by_label("Name").fill("admin")
    await other.get_by_label("Password").fill(PASSWORD)
    await other.get_by_role("button", name="Sign in").click()
    await other.locator("#circle").wait_for()
    # The API dies under the first page, and the page goes on by itself.
    assert run.kill("api")
    await run.status()
    # A cycle of a handful of answers would come to nothing.
    await until(run, page, "/home.json", has_enough)
    run.users.rate = 0.5
    await page.goto("/cycles")
    await page.get_by_role("button", name="Begin one now").click()
    await page.get_by_role("heading", name=re.compile("^Cycle [0-9]+ of code")).wait_for()
    await other.locator("#turn").wait_for(timeout=60_000)
    # Some cycle reads what was said, is judged, and is released.
    lessons = await until(run, page, f"{answer}.json", lambda told: told["lessons"])
    await until(run, page, "/releases.json", lambda told: told["targets"] and not told["canary"])
    await page.goto(f"/cycles/{lessons[0]['cycle']}")
    await page.locator("#verdict + .verdict b").wait_for()
    await page.goto(f"{answer}")
    assert await page.get_by_role("link", name=f"Cycle {lessons[0]['cycle']}").count() >= 1
    # And back, while the other one looks.
    run.users.rate = 0.01
    await page.goto("/cycles")
    await page.get_by_label("Why learning is to pause").fill("to look at it")
    await page.get_by_role("button", name="Pause").click()
    await other.locator("#paused").wait_for(timeout=60_000)
    # A canary that has begun meanwhile goes on.
    await until(run, page, "/releases.json", lambda told: not told["canary"])
    before = (await run.status()).live
    await page.goto("/releases")
    target = await page.locator("#to option").first.inner_text()
    await page.locator("#reason").fill("<b>users</b> complain")
    await page.get_by_role("button", name="Make it live again").click()
    await page.get_by_role("cell", name="<b>users</b> complain").first.wait_for()
    assert target != before
    async with asyncio.timeout(60):  # what is told of the service may be a second old
        while (await run.status()).live != target:
            await asyncio.sleep(0.2)
    await other.get_by_role("link", name=target).first.wait_for(timeout=60_000)
    await page.goto("/audit")
    for action in ("roll back", "pause learning", "begin cycle"):
        assert await page.get_by_role("cell", name=action).count() == 1
    assert not complaints


def has_enough(home: Any) -> bool:
    """Whether a cycle is open, or could learn from enough that was said."""
    following = home["circle"]["next"]
    return following is None or following["judged"] >= 24


async def until(run: Running, page: Any, address: str, found: Any) -> Any:
    """What is found on a page's JSON as soon as it is there. Raises TimeoutError."""
    async with asyncio.timeout(1500):
        while True:
            answer = await page.context.request.get(address)
            if answer.ok and (told := found(await answer.json())):
                return told
            await asyncio.sleep(0.5)


def test_the_whole_path_from_a_fresh_start() -> None:
    async def go() -> None:
        async with running() as run, playwright.async_playwright() as driver:
            run.users.rate = 1.5
            browser = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            await walk(run, browser)
            await browser.close()

    asyncio.run(go())
