"""The page in a real browser: an image gets its answer, an error its reason, on phone and desk, in light and dark."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_runtime import Predictor

playwright = pytest.importorskip("playwright.sync_api", reason="the page is tried in a browser: pip install playwright")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser: apt-get install chromium")

# What a browser does of its own accord is switched off: this one only ever asks the server under test.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
SIZES = {"phone": {"width": 360, "height": 740}, "desk": {"width": 1280, "height": 900}}
WAIT_MS = 30_000
LEAST_CONTRAST = 4.5  # WCAG 2.2, AA, of text


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser, server):
    """The server's page in a window; the test fails where its script does, or where it asks another place."""
    opened, faults = [], []

    def open_one(size: str = "desk", scheme: str = "light", **options):
        context = browser.new_context(viewport=SIZES[size], color_scheme=scheme, **options)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: message.type == "error" and faults.append(message.text))
        page.on("request", lambda request: request.url.startswith((server.url, "blob:")) or faults.append(request.url))
        page.goto(server.url)
        opened.append(context)
        return page

    yield open_one
    for context in opened:
        context.close()
    # The browser itself reports an image that cannot be judged: HTTP 422 is an answer.
    assert [fault for fault in faults if "422" not in fault] == []


def keep(page, name: str) -> None:
    """Saves a picture of the page where somebody wants to look at it."""
    if folder := os.environ.get("EDGE_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def wait_for_width(page, pixels: int) -> None:
    """Returns once the picture has that width; Playwright's own waiting is forbidden by the page's security policy."""
    for _ in range(WAIT_MS // 50):
        if page.locator("#picture").get_attribute("width") == str(pixels):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"no picture of {pixels} pixels came")


def answers(page) -> list[str]:
    return page.locator("#queue button").all_inner_texts()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_images_get_their_answers_and_errors_their_reasons(
    open_page, tiny_bundle, golden_images, tmp_path, size, scheme
):
    broken = tmp_path / "broken.png"
    broken.write_bytes(golden_images[0].read_bytes()[:60])
    page = open_page(size, scheme)
    page.set_input_files("#files", [*golden_images[:3], broken])
    page.get_by_text("4 images answered", exact=True).wait_for()
    predictor = Predictor(tiny_bundle)
    for path, shown in zip(golden_images[:3], answers(page), strict=False):
        expected = predictor.predict(path)
        assert expected.decision in shown and f"{100 * expected.probability:.1f}\u00a0%" in shown
    assert "cannot be judged" in answers(page)[3]
    assert page.locator("#viewer canvas").bounding_box()["width"] >= 30
    page.locator("#items tr").nth(3).wait_for()
    assert "Research use only" in page.locator("header").inner_text()
    width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1], "the page scrolls sideways"
    keep(page, f"{size}-{scheme}")


def test_brightness_and_contrast_follow_the_pointer_and_the_keys(open_page, golden_images):
    page = open_page()
    page.set_input_files("#files", golden_images[0])
    page.get_by_text("1 image answered", exact=True).wait_for()
    canvas = page.locator("#picture")
    wait_for_width(page, 32)

    def mean() -> float:
        page.wait_for_timeout(100)
        read = "c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let s = 0;"
        return canvas.evaluate(f"{read} for (let i = 0; i < d.length; i += 4) s += d[i]; return 4 * s / d.length; }}")

    before = mean()
    canvas.focus()
    for _ in range(5):
        page.keyboard.press("ArrowUp")
    brighter = mean()
    assert brighter > before
    page.get_by_role("button", name="Reset").click()
    assert mean() == before
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + box["height"] - 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 5, box["y"] + 2, steps=4)
    page.mouse.up()
    assert mean() > before


def test_what_a_browser_cannot_show_the_device_shows(open_page, tmp_path, radiograph_u8):
    path = tmp_path / "radiograph.tif"
    Image.fromarray(radiograph_u8.astype(np.uint16) * 257).save(path)
    page = open_page()
    page.set_input_files("#files", path)
    page.get_by_text("1 image answered", exact=True).wait_for()
    wait_for_width(page, 96)


def test_two_people_at_once_see_their_own_images(open_page, golden_images):
    pages = [open_page(), open_page("phone")]
    for page, path in zip(pages, golden_images, strict=False):
        page.set_input_files("#files", [path] * 6)
    for page, path in zip(pages, golden_images, strict=False):
        page.get_by_text("6 images answered", exact=True).wait_for()
        assert len({text.split("\n")[-1] for text in answers(page)}) == 1
        assert all(path.name in text for text in answers(page))


def test_the_list_is_searched_and_saved(open_page, golden_images):
    page = open_page()
    page.set_input_files("#files", golden_images)
    page.get_by_text(f"{len(golden_images)} images answered", exact=True).wait_for()
    page.locator("#items tr").nth(len(golden_images) - 1).wait_for()
    page.get_by_label("Search").fill("nothing has this word")
    page.get_by_text("Nothing found.").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    assert len(Path(download.value.path()).read_text().splitlines()) == len(golden_images) + 1


def test_an_image_that_is_kept_is_looked_at_again(browser, start_server, golden_images):
    server, pages = start_server("--keep", 1, "--show-identifiers"), []
    for _ in range(2):  # the second visitor has nothing but the list
        pages.append(browser.new_page(viewport=SIZES["desk"]))
        pages[-1].set_default_timeout(WAIT_MS)
        pages[-1].goto(server.url)
        if len(pages) == 1:
            pages[0].set_input_files("#files", golden_images[0])
            pages[0].get_by_text("1 image answered", exact=True).wait_for()
    pages[1].locator("#items button").click()
    wait_for_width(pages[1], 32)
    assert pages[1].locator("#viewer-title").inner_text() == golden_images[0].name
    assert pages[1].locator("#answer").inner_text() == pages[0].locator("#answer").inner_text()
    for page in pages:
        page.close()


def test_a_token_is_asked_for_once(browser, start_server, tmp_path, golden_images):
    token = tmp_path / "token"
    token.write_text("0123456789abcdef0123456789abcdef")
    token.chmod(0o600)
    server = start_server("--token-file", token)
    page = browser.new_context().new_page()
    page.goto(server.url)
    page.get_by_label("This server asks for a token.").fill("wrong, and long enough")
    page.get_by_role("button", name="Go on").click()
    page.get_by_text("This token is not right.").wait_for()
    page.get_by_label("This server asks for a token.").fill(token.read_text())
    page.get_by_role("button", name="Go on").click()
    page.set_input_files("#files", golden_images[0])
    page.get_by_text("1 image answered", exact=True).wait_for()
    page.context.close()


def test_every_control_has_a_name_and_the_keys_reach_it(open_page, golden_images):
    page = open_page()
    page.set_input_files("#files", golden_images[0])
    page.get_by_text("1 image answered", exact=True).wait_for()
    nameless = page.evaluate(
        """[...document.querySelectorAll('button, input, canvas')].filter(e => e.offsetParent &&
        !(e.innerText || e.getAttribute('aria-label') || (e.labels && e.labels.length))).map(e => e.id)"""
    )
    assert nameless == []
    reached = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert reached >= {"files", "folder", "picture", "level", "window", "reset", "search", "refresh", "csv"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(open_page, golden_images, scheme):
    page = open_page("desk", scheme)
    page.set_input_files("#files", golden_images[0])
    page.get_by_text("1 image answered", exact=True).wait_for()
    faint = page.evaluate(Path(__file__).with_name("contrast.js").read_text(), LEAST_CONTRAST)
    assert faint == []


def test_a_day_that_parts_from_the_usual_is_told(browser, start_server, tiny_bundle, tmp_path):
    from edge_runtime.bundle import open_model
    from edge_runtime.serving.store import Store
    from tests.edge_runtime.serving.test_drift import FIRST, LEAST, TODAY, fill

    store, model = Store(tmp_path / "state"), open_model(tiny_bundle).sha256
    fill(store, "2026-01-01", 0.05, FIRST, model)
    fill(store, TODAY, 0.95, LEAST, model)
    store.close()
    page = browser.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(start_server().url)
    page.locator("#drift").wait_for()
    assert f"probabilities of today's {LEAST} answers differ" in page.locator("#drift").inner_text()
    page.close()


def test_the_picture_of_the_manual(browser, start_server, tiny_bundle, tmp_path):
    """docs/page.png: EDGE_SCREENSHOTS=FOLDER EDGE_PICTURE_MODEL=BUNDLE, and a drawn phantom in place of a patient."""
    draw = pytest.importorskip("train.phantom").draw
    for number, seed in enumerate((3, 5, 8)):
        picture = Image.fromarray(draw(seed, seed, number % 2).image_u8).resize((448, 448), Image.Resampling.BICUBIC)
        picture.save(tmp_path / f"phantom-{number + 1}.png")
    bundle = Path(os.environ.get("EDGE_PICTURE_MODEL", tiny_bundle))
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.set_default_timeout(WAIT_MS)
    page.goto(start_server(bundle=bundle).url)
    page.set_input_files("#files", sorted(tmp_path.glob("phantom-*.png")))
    page.get_by_text("3 images answered", exact=True).wait_for()
    page.locator("#queue button").nth(1).click()
    wait_for_width(page, 448)
    assert "synthetic images only" in page.locator("#model").inner_text()  # nobody takes it for a finding
    assert page.locator("#viewer-title").inner_text() == "phantom-2.png"
    heatmap = page.locator("#heatmap")
    if heatmap.is_visible():
        heatmap.check()
    page.locator("#items tr").nth(2).wait_for()
    keep(page, "page")
    page.close()
