"""Take the pictures of the console's pages, light and dark, for docs/images.

    python docs/pictures.py URL OPERATOR_KEY [MODEL]

The service at URL has answered and learnt, as after `liveweights demo --keep`. Needs the extra
``browser`` and Debian's Chromium.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parent / "images"
SIZE = {"width": 1200, "height": 820}


def list_pages(home: Mapping[str, Any], model: str) -> dict[str, str]:
    """Names of pictures, and the addresses of their pages: the path of the first page, walked."""
    pages = {name: f"/{name}?model={model}" for name in ("answers", "cycles", "releases")}
    pages["home"] = f"/?model={model}"
    for station in home["path"]:
        if station["name"] in ("answer", "checkpoint", "cycle") and station["href"]:
            pages[station["name"]] = station["href"]
    return pages


def main(url: str, key: str, model: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for scheme in ("light", "dark"):
            context = chromium.new_context(
                base_url=url,
                extra_http_headers={"authorization": f"Bearer {key}"},
                viewport=SIZE,
                color_scheme=scheme,
            )
            page = context.new_page()
            home = context.request.get(f"/home.json?model={model}").json()
            for name, address in list_pages(home, model).items():
                page.goto(address)
                page.wait_for_timeout(500)  # the plot is drawn
                page.screenshot(path=FOLDER / f"{name}-{scheme}.png")
        chromium.close()


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) == 4 else "code")
