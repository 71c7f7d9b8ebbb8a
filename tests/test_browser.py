"""The search page in a real browser, with and without JavaScript."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mediasearch.indexing import generations
from mediasearch.models import Generation
from tests.conftest import MakeAsset, picture

webdriver = pytest.importorskip("selenium.webdriver")
expected_conditions = pytest.importorskip("selenium.webdriver.support.expected_conditions")
WebDriverException = pytest.importorskip("selenium.common.exceptions").WebDriverException
WebDriverWait = pytest.importorskip("selenium.webdriver.support.wait").WebDriverWait
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="Chromium and its driver are not installed: apt-get install chromium chromium-driver",
    ),
]
Start = Callable[..., Any]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start browsers of a given width, with or without JavaScript, and end them."""
    from selenium.webdriver.chrome.service import Service

    started: list[Any] = []

    def one(width: int = 1280, *, scripts: bool = True) -> Any:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in FLAGS.split():
            options.add_argument(flag)
        options.add_argument(f"--user-data-dir={tmp_path / f'profile-{len(started)}'}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        if not scripts:
            options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
            options.add_argument("--blink-settings=scriptEnabled=false")
        browser = webdriver.Chrome(options=options, service=Service(DRIVER))
        started.append(browser)
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        return browser

    yield one
    for browser in started:
        browser.quit()


@pytest.fixture
def library(make_asset: MakeAsset, index_all: Callable[[], None]) -> Iterator[None]:
    """A few pictures, indexed under a generation with its indexes, as on a real site."""
    generations.ensure_active()
    for colour in ("blue", "green", "red", "yellow"):
        make_asset(picture(colour, (320, 240)), title=f"{colour} " + "wonderfully-long-title-without-spaces" * 3)
    make_asset(picture("purple", (900, 100)), title="A strip", category="strips", tags=["narrow", "long"])
    index_all()
    yield
    for generation in Generation.objects.all():
        generations.drop_indexes(generation)


def css(browser: Any, selector: str) -> list[Any]:
    return browser.find_elements("css selector", selector)


def errors(browser: Any) -> list[str]:
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


@contextmanager
def another_page(browser: Any, awaited: str) -> Iterator[None]:
    """Wait after what leads to another page, until something of that page is there."""
    before = css(browser, "html")[0]
    yield
    # What is asked of a page just as it goes may fail in more ways than one.
    wait = WebDriverWait(browser, 20, ignored_exceptions=[WebDriverException])
    wait.until(expected_conditions.staleness_of(before))
    wait.until(lambda page: css(page, awaited))


def follow(browser: Any, selector: str, awaited: str) -> None:
    """Click what leads to another page, and wait until something of that page is there."""
    with another_page(browser, awaited):
        css(browser, selector)[0].click()


def search(browser: Any, text: str) -> None:
    box = css(browser, "input[name=q]")[0]
    box.clear()
    box.send_keys(text)
    follow(browser, ".ms-form button", ".ms-title")


def test_browser__finds_by_words_and_says_why(start: Start, live_server: Any, library: None) -> None:
    browser = start()
    browser.get(live_server.url)
    search(browser, "red")
    first = css(browser, ".ms-hit")[0]
    assert first.find_element("css selector", ".ms-title").text.startswith("red")
    image = first.find_element("css selector", "img")
    assert browser.execute_script("return arguments[0].complete && arguments[0].naturalWidth", image) == 320
    rows = first.find_elements("css selector", "tbody tr")
    assert not any(row.is_displayed() for row in rows)
    first.find_element("css selector", "summary").click()
    assert {row.get_attribute("data-signal") for row in rows if row.is_displayed()} >= {"image", "text"}
    follow(browser, ".ms-toggle", ".ms-why table")
    assert all(element.is_displayed() for element in css(browser, ".ms-why table"))
    assert css(browser, "input[name=q]")[0].get_attribute("value") == "red"
    assert errors(browser) == []


def test_browser__focuses_the_box_at_a_slash(start: Start, live_server: Any, library: None) -> None:
    browser = start()
    browser.get(live_server.url)
    css(browser, "body")[0].send_keys("/")
    focused = browser.switch_to.active_element
    assert focused.get_attribute("name") == "q"
    focused.send_keys("a/b")
    assert focused.get_attribute("value") == "a/b"


def test_browser__shows_where_the_keyboard_is(start: Start, live_server: Any, library: None) -> None:
    browser = start()
    browser.get(live_server.url)
    css(browser, "body")[0].send_keys("\ue004")
    skip = browser.switch_to.active_element
    assert skip.get_attribute("class") == "ms-skip"
    assert skip.rect["y"] >= 0 or browser.execute_script("return arguments[0].offsetTop", skip) >= 0


def test_browser__works_without_javascript(start: Start, live_server: Any, library: None) -> None:
    browser = start(scripts=False)
    browser.get(f"{live_server.url}/?q=red&scores=1")
    assert css(browser, ".ms-title")[0].text.startswith("red")
    assert css(browser, ".ms-why table")[0].is_displayed()
    search(browser, "blue")
    assert css(browser, ".ms-title")[0].text.startswith("blue")
    assert css(browser, ".ms-why table")[0].is_displayed()
    follow(browser, ".ms-card", "h1")
    assert css(browser, "h1")[0].text.startswith("blue")


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_browser__never_scrolls_sideways(start: Start, live_server: Any, library: None, width: int) -> None:
    browser = start(width)
    for address in ("/", "/?q=red", "/?q=red&scores=1", "/?q=" + "x" * 1_900, "/?tag=a%00&after=x", "/?category=none"):
        browser.get(live_server.url + address)
        for summary in css(browser, ".ms-why:not([open]) summary")[:3]:
            browser.execute_script("arguments[0].click()", summary)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width, address
    browser.get(live_server.url)
    follow(browser, ".ms-card", "h1")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [360, 1280])
def test_browser__opens_scores_without_cutting_them_off(
    start: Start, live_server: Any, library: None, width: int
) -> None:
    browser = start(width)
    browser.get(f"{live_server.url}/?q=red")
    for summary in css(browser, ".ms-why summary"):
        browser.execute_script("arguments[0].click()", summary)
    hidden = "return [...document.querySelectorAll('.ms-why')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    assert browser.execute_script(hidden) == 0


def test_browser__uploads_in_the_admin(
    start: Start, live_server: Any, library: None, admin_client: Any, tmp_path: Path
) -> None:
    browser = start()
    browser.get(live_server.url)
    session = admin_client.cookies["sessionid"].value
    browser.add_cookie({"name": "sessionid", "value": session})
    for name, data in (("new.png", picture("orange")), ("bad.png", b"words")):
        (tmp_path / name).write_bytes(data)
    browser.get(f"{live_server.url}/admin/mediasearch/asset/upload/")
    css(browser, "input[type=file]")[0].send_keys(f"{tmp_path / 'new.png'}\n{tmp_path / 'bad.png'}")
    follow(browser, ".submit-row input", ".messagelist li:nth-child(2)")
    said = [element.text for element in css(browser, ".messagelist li")]
    assert said[0] == "1 image was added."
    assert said[1].startswith("“bad.png” was refused: This file is not an image")


def show(browser: Any, data: bytes, path: Path) -> None:
    """Choose a picture to search with, and wait for what it finds."""
    path.write_bytes(data)
    with another_page(browser, ".ms-asked"):
        css(browser, "input[name=upload]")[0].send_keys(str(path))


@pytest.mark.parametrize("width", [360, 1280])
def test_browser__searches_with_a_picture(
    start: Start, live_server: Any, library: None, tmp_path: Path, width: int
) -> None:
    browser = start(width)
    browser.get(live_server.url)
    css(browser, "input[name=tag]")[0].send_keys("narrow")  # Typed, but not searched for yet.
    show(browser, picture("yellow", (200, 150)), tmp_path / f"{'a-long-name-' * 12}.png")
    assert [title.text for title in css(browser, ".ms-title")] == ["A strip"]
    assert "picture=" in browser.current_url
    assert "tag=narrow" in browser.current_url
    follow(browser, ".ms-clear", ".ms-title")
    assert css(browser, ".ms-title")[0].text.startswith("yellow")
    thumbnail = css(browser, ".ms-asked img")[0]
    assert browser.execute_script("return arguments[0].complete && arguments[0].naturalWidth", thumbnail) == 128
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    follow(browser, ".ms-card", "h1")
    browser.back()  # To an address of its own, and not to a form that would have to be sent again.
    WebDriverWait(browser, 20).until(lambda page: css(page, ".ms-asked"))
    search(browser, "blue")
    assert css(browser, ".ms-asked")
    assert css(browser, ".ms-title")[0].text.startswith("blue")
    follow(browser, ".ms-asked a", ".ms-title")
    assert not css(browser, ".ms-asked")
    assert css(browser, "input[name=q]")[0].get_attribute("value") == "blue"
    assert errors(browser) == []


def test_browser__says_why_a_picture_is_refused(start: Start, live_server: Any, library: None, tmp_path: Path) -> None:
    browser = start()
    browser.get(live_server.url)
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    with another_page(browser, ".errorlist"):
        css(browser, "input[name=upload]")[0].send_keys(str(tmp_path / "a.pdf"))
    assert css(browser, ".errorlist")[0].text == "This is a PDF, not an image. Upload its pages as images."
    browser.refresh()
    assert css(browser, ".ms-title")


def test_browser__takes_a_picture_that_is_dropped(
    start: Start, live_server: Any, library: None, tmp_path: Path
) -> None:
    browser = start()
    browser.get(live_server.url)
    data = base64.b64encode(picture("green", (200, 150))).decode()
    with another_page(browser, ".ms-asked"):
        browser.execute_script(
            """
            const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([bytes], "dropped.png", {type: "image/png"}));
            for (const kind of ["dragover", "drop"])
              document.body.dispatchEvent(new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer}));
            """,
            data,
        )
    assert css(browser, ".ms-title")[0].text.startswith("green")


def test_browser__searches_with_a_picture_by_keyboard_and_without_javascript(
    start: Start, live_server: Any, library: None, tmp_path: Path
) -> None:
    browser = start(scripts=False)
    browser.get(f"{live_server.url}/?q=blue")
    upload, button = css(browser, "input[name=upload]")[0], css(browser, ".ms-send")[0]
    box = css(browser, "input[name=q]")[0]
    box.send_keys("\ue004")
    assert browser.switch_to.active_element == upload
    assert not button.is_displayed()
    (tmp_path / "a.png").write_bytes(picture("red"))
    upload.send_keys(str(tmp_path / "a.png"))
    assert button.is_displayed()
    follow(browser, ".ms-send", ".ms-asked")
    assert css(browser, "input[name=q]")[0].get_attribute("value") == "blue"
    assert css(browser, ".ms-title")[0].text.startswith("blue")
    follow(browser, ".ms-asked a", ".ms-title")
    assert not css(browser, ".ms-asked")


def test_browser__searches_with_a_picture_in_the_admin(
    start: Start, live_server: Any, library: None, admin_client: Any, tmp_path: Path
) -> None:
    browser = start()
    browser.get(live_server.url)
    browser.add_cookie({"name": "sessionid", "value": admin_client.cookies["sessionid"].value})
    browser.get(f"{live_server.url}/admin/mediasearch/asset/")
    (tmp_path / "a.png").write_bytes(picture("red"))
    css(browser, ".ms-picture-search input[type=file]")[0].send_keys(str(tmp_path / "a.png"))
    follow(browser, ".ms-picture-search input[type=submit]", ".ms-ranked img")
    assert css(browser, "#result_list .field-name")[0].text.startswith("red")
    follow(browser, ".ms-ranked a", "#result_list")
    assert not css(browser, ".ms-ranked")
