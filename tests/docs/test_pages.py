"""Every page is found from the README, every link leads somewhere, and figures say their source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.docs.pages import PAGES, ROOT, Link, anchors, links, prose

LINKS = [link for page in PAGES for link in links(page)]
INDEX = ROOT / "docs" / "README.md"


@pytest.mark.parametrize("link", LINKS, ids=str)
def test_a_link_leads_somewhere(link: Link) -> None:
    assert link.target.exists(), f"{link.page.name} links to {link.target}, which does not exist"
    if link.anchor:
        assert link.anchor in anchors(link.target), (
            f"{link.page.name}: {link.target.name} has no heading #{link.anchor}"
        )


def test_every_page_is_in_the_index() -> None:
    listed = {link.target for link in links(INDEX)}
    missing = {page.name for page in (ROOT / "docs").glob("*.md")} - {p.name for p in listed}
    assert missing <= {"README.md"}, f"docs/README.md does not link to {sorted(missing)}"


def test_every_page_is_reachable_from_the_readme() -> None:
    reached, front = set[Path](), [ROOT / "README.md"]
    while front:
        page = front.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        front += [link.target for link in links(page)]
    assert reached >= set(PAGES), sorted(p.name for p in set(PAGES) - reached)


def test_the_readme_is_short_and_has_five_headlines() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 120
    _, _, rest = text.partition("\n## Measured\n")
    headlines = rest.partition("\n## ")[0].split("\n- ")[1:]
    assert len(headlines) == 5
    for headline in headlines:
        assert re.search(r"\d", headline)
        assert "docs/measured.md#" in headline, f"a headline without its source: {headline}"


def sections(page: Path) -> list[tuple[str, str]]:
    """Title and text of the page's second-level sections."""
    parts = re.split(r"^## +(.+)$", page.read_text(), flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(
    ("title", "text"), sections(ROOT / "docs" / "measured.md"), ids=lambda value: value[:30]
)
def test_a_measurement_says_command_machine_and_date(title: str, text: str) -> None:
    flat = " ".join(text.split())
    assert re.match(
        r"\*\*Command\*\* `[^`]+` · \*\*Machine\*\* [^·]+ · \*\*When\*\* 20\d\d-\d\d-\d\d ", flat
    ), (
        f"docs/measured.md, {title!r}: begin with "
        "**Command** `...` · **Machine** ... · **When** YYYY-MM-DD"
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_of_measurements_are_on_one_page(page: Path) -> None:
    if page.name == "measured.md":
        return
    for table in re.findall(r"(?:^ *\|.*\n)+", prose(page), re.MULTILINE):
        cells = [cell.strip() for row in table.splitlines()[2:] for cell in row.split("|")[2:-1]]
        numbers = [cell for cell in cells if re.match(r"[-+]?\d[\d,.]*( ?(%|ms|s|GiB))?$", cell)]
        assert len(numbers) * 2 <= len(cells), (
            f"{page.name} has a table of figures: it belongs into docs/measured.md\n{table}"
        )


def test_the_picture_is_the_same_in_light_and_dark() -> None:
    style = re.compile(r"<style>.*?</style>", re.DOTALL)
    light, dark = ((ROOT / "docs" / f"circle-{mode}.svg").read_text() for mode in ("light", "dark"))
    assert light != dark
    assert style.sub("", light) == style.sub("", dark)
