"""Every page in a real browser: on phone and desk, in light and dark, for people who see it and who do not."""

from __future__ import annotations

import html.parser
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from train.pages import is_page_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
KINDS = {  # the command that writes each
    "audit": "edge-audit",
    "evaluation": "edge-evaluate",
    "facts": "edge-evaluate",
    "protocol": "edge-evaluate",
    "run": "edge-train",
    "parity": "edge-parity",
    "bundle": "edge-export",
}
WIDTHS = {"phone": 360, "desk": 1280}
SCHEMES = ("light", "dark")
AXE = Path(__file__).with_name("axe.min.js")  # axe-core 4.14.1, MPL-2.0: https://github.com/dequelabs/axe-core


class Tags(html.parser.HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag == name]


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


def test_a_page_is_one_file_with_a_bar_and_a_table_of_contents(pages, kind):
    text = pages[kind].read_text(encoding="utf-8")
    tags = Tags(text)
    assert is_page_of(KINDS[kind], pages[kind])
    assert not tags.all("script") and not tags.all("link")
    sources = [one["src"] for one in tags.all("img")]
    assert all(source.startswith("data:image/") for source in sources)
    names = [one["id"] for _, one in tags.found if "id" in one]
    assert len(names) == len(set(names))
    targets = [one["href"] for one in tags.all("a")]
    assert all(target[0] != "#" or target[1:] in names for target in targets)
    assert all(target[0] == "#" or (pages[kind].parent / target).is_file() for target in targets)
    assert kind == "facts" or sum(target[0] == "#" for target in targets) >= 3
    used = re.findall(r'(?:href="|url\()#([^")]+)', text)
    assert set(used) <= set(names)
    shown = " ".join(tags.text)
    assert shown.count("Research use only") == 1
    assert "fracture-edge" in shown and ("20" in shown or kind == "bundle")


def test_no_page_tells_where_files_lie(pages, kind, images):
    text = pages[kind].read_text(encoding="utf-8")
    assert str(images.parent) not in text and "/srv/secret" not in text and str(Path.home()) not in text
    assert not re.search(r'[">\s](?:/(?:tmp|home|root|work|srv)/)', text)


def test_every_picture_and_plot_says_what_it_shows(pages, kind):
    tags = Tags(pages[kind].read_text(encoding="utf-8"))
    pictures = [one.get("alt") for one in tags.all("img")]
    plots = [one.get("aria-label") for tag, one in tags.found if tag == "div" and one.get("role") == "img"]
    assert pictures or plots or kind in ("facts", "protocol")
    assert all(says and len(says) > 15 for says in [*pictures, *plots])


def test_what_is_told_on_each_page(pages):
    text = {kind: " ".join(Tags(path.read_text(encoding="utf-8")).text) for kind, path in pages.items()}
    text = {kind: " ".join(words.split()) for kind, words in text.items()}
    assert (
        "Not fit for evaluation." in text["audit"] and "0.75" in text["audit"] and "Patients unknown" in text["audit"]
    )
    assert "Both labels" in text["audit"] and "Least certain links" in text["audit"]
    assert "a dotted line stands where the phase “fine-tuning” begins" in text["run"]
    assert "LEAKED" in text["run"] and "per radiograph" in text["run"] and "Youden's index" in text["run"]
    assert "groups.csv" in text["run"]
    assert "int8 files: failed" in text["parity"] and "int8 files: failed" in text["bundle"]
    assert "edge-infer --model BUNDLE image.png" in text["bundle"]


def test_the_page_of_a_bundle_has_no_date(pages):
    assert not re.search(r"20\d\d-\d\d-\d\d", pages["bundle"].read_text(encoding="utf-8"))


def test_names_are_text_and_no_markup(pages):
    text = pages["audit"].read_text(encoding="utf-8")
    assert "drawn $x$ &lt;images&gt;" in text and "<images>" not in text


@pytest.fixture(scope="module")
def browser() -> Iterator:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="pages are tried in a browser: pip install playwright"
    )
    if CHROMIUM is None:
        pytest.skip("no browser: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


def faults_of(page) -> list[str]:
    """What axe-core finds, by rule and place; and whether the page scrolls sideways."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    return [f"{one['id']}: {node['html'][:90]}" for one in found for node in one["nodes"]]


def scrolls_sideways(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > innerWidth")


def keep(page, name: str) -> None:
    """Saves a picture of the page where somebody wants to look at it."""
    if folder := os.environ.get("EDGE_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_every_page_fits_a_phone_and_has_no_fault_in_the_dark(browser, pages):
    context = browser.new_context(viewport={"width": WIDTHS["phone"], "height": 800}, color_scheme="dark")
    faults, asked = {}, []
    context.on("request", lambda request: request.url.startswith(("file:", "data:")) or asked.append(request.url))
    for kind, path in pages.items():
        page = context.new_page()
        page.goto(path.as_uri())
        faults[kind] = [*faults_of(page), *(["scrolls sideways"] if scrolls_sideways(page) else [])]
        page.close()
    context.close()
    assert faults == dict.fromkeys(pages, []) and asked == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_at_every_width_in_both_modes_with_all_unfolded(browser, pages, kind, width, scheme):
    context = browser.new_context(viewport={"width": WIDTHS[width], "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.goto(pages[kind].as_uri())
    keep(page, f"{kind}-{width}-{scheme}")
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert faults_of(page) == [] and not scrolls_sideways(page)
    ink, ground = (page.evaluate(f"getComputedStyle(document.body).{one}") for one in ("color", "backgroundColor"))
    is_dark = [sum(map(int, re.findall(r"\d+", colour)[:3])) < 384 for colour in (ink, ground)]
    assert is_dark == ([True, False] if scheme == "light" else [False, True])
    context.close()
