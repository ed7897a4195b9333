"""Take pictures of every page of the console, light and dark, for docs/images.

    python docs/pictures.py URL OPERATOR_KEY [MODEL]

The service at URL has answered and learnt, as after `liveweights demo --keep`, and has an
operator's key (`[api] operator_key`). Pages about one thing are found by the links to them. The
pictures of a phone's window begin with `phone-`; git keeps those that the README shows. Needs the
extra ``browser`` and Debian's Chromium.
"""

from __future__ import annotations

import base64
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from liveweights.console.pages import LISTS, SINGLE

FOLDER = Path(__file__).parent / "images"
WINDOWS: dict[str, dict[str, Any]] = {
    "": {"viewport": {"width": 1200, "height": 820}},
    "phone-": {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True},
}
"""By what the names of their pictures begin with."""
QUALITY = 72
"""Of WebP: a picture has some 30 KB."""
ASKED = "def mean(values):\n    return"
LINKED = {
    **{f"{page.path}/": page.template.removesuffix(".html") for page in SINGLE},
    "/models/": "model",
    "/comparison?": "two",
}
"""How addresses of pages about one thing begin, and what their pictures are called."""


def walk(page: Any, model: str) -> Iterator[str]:
    """Open every page, one after the other; the names of their pictures."""
    pages = {"home": f"/?model={model}", "models": "/models"}
    pages |= {one.path.strip("/"): f"{one.path}?model={model}" for one in LISTS}
    waiting = list(pages.items())
    for name, address in waiting:
        answer = page.goto(address)
        if answer is None or answer.status != 200:
            print(f"{name}: {address} is not there", file=sys.stderr)
            continue
        if name == "playground":
            talk(page)
        page.wait_for_timeout(500)  # the plot is drawn
        if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            print(f"{name}: wider than the window", file=sys.stderr)
        yield name
        for start, linked in LINKED.items():
            link = page.locator(f'main a[href^="{start}"]:not([href$="="])').first
            if linked not in pages and link.count():
                pages[linked] = link.get_attribute("href")
                waiting.append((linked, pages[linked]))
    for linked in set(LINKED.values()) - pages.keys():
        print(f"{linked}: no page links to one", file=sys.stderr)


def talk(page: Any) -> None:
    """In the playground, so that there is something to see: one answer, token by token."""
    page.get_by_label("As", exact=True).select_option("completion")
    page.get_by_label("At most, tokens").fill("24")
    page.get_by_label("Message").fill(ASKED)
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_text("Answered.", exact=True).wait_for(timeout=60_000)
    page.locator(".said").focus()
    page.keyboard.press("ArrowRight")


def sign_in(page: Any, key: str) -> None:
    """As the operator."""
    page.get_by_label("Name").fill("operator")
    page.get_by_label("Password").fill(key)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()


def take(page: Any, name: str) -> None:
    """What the window shows, as WebP."""
    shot = page.context.new_cdp_session(page).send(
        "Page.captureScreenshot", {"format": "webp", "quality": QUALITY}
    )
    (FOLDER / f"{name}.webp").write_bytes(base64.b64decode(shot["data"]))
    print(name)


def main(url: str, key: str, model: str = "code") -> None:
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for scheme in ("light", "dark"):
            for window, shape in WINDOWS.items():
                context = chromium.new_context(base_url=url, color_scheme=scheme, **shape)
                page = context.new_page()
                page.goto("/login")
                take(page, f"{window}login-{scheme}")
                sign_in(page, key)
                for name in walk(page, model):
                    take(page, f"{window}{name}-{scheme}")
                context.close()
        chromium.close()


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
