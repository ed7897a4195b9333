"""Take the pictures of the console's pages, light and dark, for docs/images.

    python docs/pictures.py URL OPERATOR_KEY [MODEL]

The service at URL has answered and learnt, as after `liveweights demo --keep`, and has an
operator's key (`[api] operator_key`). Needs the extra ``browser`` and Debian's Chromium.
"""

from __future__ import annotations

import base64
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parent / "images"
SIZE = {"width": 1200, "height": 820}
QUALITY = 72
"""Of WebP: a picture has some 30 KB."""
ASKED = "def mean(values):\n    return"


def list_pages(home: Mapping[str, Any], releases: Mapping[str, Any], model: str) -> dict[str, str]:
    """Names of pictures, and the addresses of their pages: the path of the first page, walked."""
    lists = ("answers", "checkpoints", "cycles", "lineage", "playground", "releases", "scoreboard")
    pages = {name: f"/{name}?model={model}" for name in lists}
    pages |= {"home": f"/?model={model}", "models": "/models", "model": f"/models/{model}"}
    pages |= {"users": "/users", "audit": "/audit"}
    for station in home["path"]:
        if station["name"] in ("answer", "checkpoint", "cycle") and station["href"]:
            pages[station["name"]] = station["href"]
    if "answer" in pages:
        pages["conversation"] = pages["answer"].replace("/answers/", "/conversations/")
    others = (releases["canary"], *releases["targets"])
    if beside := next((one for one in others if one), None):
        pages["comparison"] = f"/comparison?model={model}&left={beside}&right={releases['live']}"
    return pages


def talk(page: Any) -> None:
    """In the playground, so that there is something to see: one answer, token by token."""
    page.get_by_label("As", exact=True).select_option("completion")
    page.get_by_label("At most, tokens").fill("24")
    page.get_by_label("Message").fill(ASKED)
    page.get_by_role("button", name="Send", exact=True).click()
    page.get_by_text("Answered.", exact=True).wait_for(timeout=60_000)
    page.locator(".said .t").first.hover()


def take(page: Any, file: Path) -> None:
    """What the window shows, as WebP."""
    shot = page.context.new_cdp_session(page).send(
        "Page.captureScreenshot", {"format": "webp", "quality": QUALITY}
    )
    file.write_bytes(base64.b64decode(shot["data"]))


def main(url: str, key: str, model: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for scheme in ("light", "dark"):
            context = chromium.new_context(base_url=url, viewport=SIZE, color_scheme=scheme)
            page = context.new_page()
            page.goto("/login")
            take(page, FOLDER / f"login-{scheme}.webp")
            page.get_by_label("Name").fill("operator")
            page.get_by_label("Password").fill(key)
            page.get_by_role("button", name="Sign in").click()
            page.get_by_role("button", name="Sign out").wait_for()
            home = context.request.get(f"/home.json?model={model}").json()
            releases = context.request.get(f"/releases.json?model={model}").json()
            pages = list_pages(home, releases, model)
            for name, address in pages.items():
                answer = page.goto(address)
                if answer is None or answer.status != 200:
                    print(f"{name}: {address} is not there", file=sys.stderr)
                    continue
                if name == "playground":
                    talk(page)
                page.wait_for_timeout(500)  # the plot is drawn
                take(page, FOLDER / f"{name}-{scheme}.webp")
                print(f"{name}, {scheme}")
        chromium.close()


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) == 4 else "code")
