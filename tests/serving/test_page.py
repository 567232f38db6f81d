"""The page of `synood serve` in a real Chromium; skipped where there is none."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil

import pytest

from serving_client import running

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
CHROMIUM = os.environ.get("SYNOOD_CHROMIUM") or shutil.which("chromium")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"desktop": (1200, 900), "phone": (390, 844)}

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture(params=SIZES)
def page(browser, server, request):
    """The page at a size; nothing is asked of another machine, and nothing fails in it."""
    width, height = SIZES[request.param]
    opened = browser.new_page(viewport={"width": width, "height": height}, accept_downloads=True)
    asked, faults = [], []
    opened.on("request", lambda one: asked.append(one.url))
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.goto(f"http://{server.host}:{server.port}/")
    shown(opened, "#about", "classes")
    yield opened
    home = f"http://{server.host}:{server.port}/"
    assert [url for url in asked if not url.startswith((home, "blob:", "data:"))] == []
    assert faults == []
    assert opened.locator("html").evaluate("e => e.scrollWidth <= window.innerWidth")
    opened.close()


def shown(page, place, words):
    playwright.expect(page.locator(place)).to_contain_text(words, timeout=60_000)


def rows(page):
    return page.locator("#rows tr")


def downloaded(page, button):
    with page.expect_download() as waited:
        page.click(button)
    return waited.value.path().read_text("utf-8")


def test_images_get_the_servers_verdicts_and_a_bad_one_its_reason(
    page, server, image_files, tmp_path
):
    bad = tmp_path / 'odd, "name".jpg'
    bad.write_bytes(b"no image")
    page.set_input_files("#files", [str(file) for file in (*image_files, bad)])
    shown(page, "#status", f"{len(image_files)} images scored")
    shown(page, "#status", "1 not scored")
    sent = [(file.name, file.read_bytes()) for file in image_files]
    answer = server.score(sent, "?model=first")
    wanted = answer.json["results"]
    found = [json.loads(line) for line in downloaded(page, "#jsonl").splitlines()]
    assert [row["name"] for row in found] == [file.name for file in (*image_files, bad)]
    assert [row["score"] for row in found[:-1]] == [row["score"] for row in wanted]
    assert found[-1]["error"]
    table = list(csv.DictReader(io.StringIO(downloaded(page, "#csv"))))
    assert [row["name"] for row in table] == [row["name"] for row in found]
    assert float(table[0]["score"]) == found[0]["score"]
    for place, row in enumerate(wanted):
        cells = rows(page).nth(place).locator("td").all_inner_texts()
        assert cells[1] == ("OOD" if row["is_ood"] else "in")
        assert cells[2:] == [f"{row['p_value']:.4f}", f"{row['score']:.2f}", row["label"]]


def test_an_image_is_chosen_by_mouse_and_keys_and_shown_with_its_histogram(page, image_files):
    page.set_input_files("#files", [str(file) for file in image_files[:3]])
    shown(page, "#status", "3 images scored")
    playwright.expect(rows(page).nth(0)).to_have_attribute("aria-current", "true")
    rows(page).nth(1).locator("button").click()
    score = rows(page).nth(1).locator("td").nth(3).inner_text()
    shown(page, "#sentence", f"Score {score}")
    page.keyboard.press("ArrowDown")
    playwright.expect(rows(page).nth(2)).to_have_attribute("aria-current", "true")
    score = rows(page).nth(2).locator("td").nth(3).inner_text()
    shown(page, "#sentence", f"Score {score}")
    title = page.locator("#histogram title").text_content()
    assert "calibration images" in title
    assert score in title
    assert page.locator("#histogram rect").count() > 1
    assert page.locator("#nearest li").count() == 6
    page.click("#clear")
    assert rows(page).count() == 0
    assert page.locator("#one").is_hidden()


def test_dropped_and_pasted_images_are_scored_and_another_detector_scores_again(page, png):
    give = """(target, [kind, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], kind + ".png", {type: "image/png"}));
        target.dispatchEvent(kind === "paste"
            ? new ClipboardEvent("paste", {clipboardData: data, bubbles: true})
            : new DragEvent("drop", {dataTransfer: data, bubbles: true}));
    }"""
    for kind in ("drop", "paste"):
        page.locator("#drop").evaluate(give, [kind, list(png)])
    shown(page, "#status", "2 images scored")
    first = rows(page).nth(0).inner_text()
    page.select_option("#detector", "second one")
    shown(page, "#about", "second one")
    shown(page, "#status", "2 images scored")
    assert rows(page).nth(0).inner_text() != first


def test_a_key_is_asked_for_and_a_wrong_one_refused(browser, detectors, tmp_path, image_files):
    key = tmp_path / "key"
    key.write_text("the-right-one-and-long-enough")
    options = ("--key-file", str(key))
    with running(detectors / "first", tmp_path / "log", *options) as server:
        page = browser.new_page()
        page.goto(f"http://{server.host}:{server.port}/")
        for tried, place, words in (
            ("wrong", "#key-fault", "refuses"),
            ("the-right-one-and-long-enough", "#about", "classes"),
        ):
            page.fill("#key", tried)
            page.click("#key-form button")
            shown(page, place, words)
        page.set_input_files("#files", str(image_files[0]))
        shown(page, "#status", "1 image scored")
        page.close()
