"""The page in a real browser: no error, no request, keyboard, names and contrast, hostile rollouts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loopkit import seeding
from loopkit.experiment.config import RunSpec
from loopkit.records import Dialogue
from loopkit.registry import plugins
from loopkit.report.page import build
from tests.report.browser import AXE, browser, complaints, needs_axe, needs_chromium, requests
from tests.report.conftest import Made
from tests.report.scripted import compliance, experiment

pytestmark = [needs_chromium, pytest.mark.nightly]
HOSTILE = [
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">",
    "</script><script>document.title='owned'</script><!--",
    "A" * 100_000,
    "\x1b[31m\x1b]0;owned\x07red\x1b[2J\r\x00",
    "\u202eright to left override\u202c \u05e9\u05dc\u05d5\u05dd \u0627\u0644\u0633\u0644\u0627\u0645",
    "zero\u200bwidth\u200d\ufeff\u2060joined",
    '{{ 7 * 7 }} ${7 * 7} javascript:alert(1) \'onclick="x"',
    "Z\u0351\u0352\u0353" * 300,
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16") + "\n" * 50,
]


def hostile(spec: RunSpec, step: int | None, dialogue: Dialogue) -> str:
    """Complies, which is flagged, and says something hostile."""
    said = compliance(spec, step, dialogue)
    return f"{said} {seeding.pick(HOSTILE, spec.seed, step, dialogue.key)}"


@pytest.fixture(scope="module")
def page(made: Made, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(made.page, encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("study")
    (directory / "results.json").write_bytes((Path(__file__).parent / "study.json").read_bytes())
    file = directory / "report.html"
    file.write_text(build([directory], plugins.load())[0], encoding="utf-8")
    return file.as_uri()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as driver:
        yield driver


def keys(driver: Any, *pressed: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    for key in pressed:
        ActionChains(driver).send_keys(key).perform()


def count(driver: Any) -> int:
    return int(
        driver.execute_script("return document.getElementById('count').textContent.split(' ')[0]").replace(",", "")
    )


def opened(driver: Any) -> str:
    text: str = driver.execute_script("return document.querySelector('#one').textContent")
    return text


def soon(holds: Callable[[], bool]) -> None:
    """Waits for what a page does after the event that asked for it; on a busy machine that is not at once."""
    deadline = time.monotonic() + 30
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert holds()


def load(driver: Any, address: str) -> None:
    driver.get("about:blank")  # else an address that differs in its hash only is not loaded again
    complaints(driver)
    requests(driver)
    driver.get(address)


def test_no_error_and_no_request_leaves_the_page(chromium: Any, page: str, study: str) -> None:
    for address in (page, study):
        load(chromium, address)
        chromium.find_element("id", "theme").click()
        assert complaints(chromium) == []
        assert {a for a in requests(chromium) if not a.startswith("data:")} == {address}


def test_the_policy_stops_what_a_page_could_ask_for(chromium: Any, page: str) -> None:
    load(chromium, page)
    chromium.execute_script("const i = new Image(); i.src = 'http://127.0.0.1:9/x.png'; document.body.append(i);")
    assert any("Content Security Policy" in c for c in complaints(chromium))


def test_filters_work_by_keyboard(chromium: Any, page: str) -> None:
    from selenium.webdriver.common.keys import Keys

    load(chromium, page)
    every = count(chromium)
    keys(chromium, "/", *"cannot help")
    assert chromium.switch_to.active_element.get_attribute("id") == "f-text"
    assert 0 < count(chromium) < every
    assert "text=cannot+help" in chromium.current_url
    keys(chromium, Keys.TAB)
    chromium.find_element("id", "f-arm").send_keys("loophole")
    chromium.find_element("id", "f-flag").send_keys("flagged")
    assert count(chromium) == 0  # who cannot help does not comply
    assert "widen the filters" in chromium.find_element("id", "count").text
    chromium.find_element("css selector", "#filters button[type=reset]").send_keys(Keys.ENTER)
    soon(lambda: count(chromium) == every)
    chromium.find_element("id", "f-from").send_keys("20")
    chromium.find_element("id", "f-min").send_keys("1")
    chromium.find_element("id", "f-seed").send_keys("2")
    rows = chromium.execute_script("return [...document.querySelectorAll('#list .what')].map((w) => w.textContent)")
    assert rows
    assert all("seed 2" in r and "paid 1" in r and int(r.split("step ")[1].split("paid")[0]) >= 20 for r in rows)
    assert complaints(chromium) == []


def test_rollouts_open_by_keyboard_and_have_an_address(chromium: Any, page: str) -> None:
    from selenium.webdriver.common.keys import Keys

    load(chromium, page + "#arm=loophole&flag=1")
    n = count(chromium)
    keys(chromium, "j", "j")
    name = chromium.switch_to.active_element.get_attribute("data-id")
    keys(chromium, Keys.ENTER)
    assert "loophole, seed 0" in opened(chromium)
    assert "compliance-gap yes" in opened(chromium)
    assert chromium.switch_to.active_element.get_attribute("id") == "one"
    address = chromium.current_url
    shown = opened(chromium)
    load(chromium, address)
    assert opened(chromium) == shown
    assert count(chromium) == n
    assert chromium.find_element("css selector", "#list a[aria-current=true]").get_attribute("data-id") == name
    keys(chromium, "n")
    assert "page 2 of" in chromium.find_element("id", "place").text
    load(chromium, page + "#r=0/loophole-s0/nothing/0")
    assert "is not among the rollouts of this page" in opened(chromium)
    assert complaints(chromium) == []


def test_permalinks_of_first_exploits_open_their_rollout(chromium: Any, page: str) -> None:
    load(chromium, page)
    card = chromium.find_element("css selector", ".card")
    said = card.find_element("css selector", ".mine").text
    card.find_element("css selector", "a").click()
    assert said in opened(chromium)


@needs_axe
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_names_and_contrast(page: str, study: str, theme: str, width: int) -> None:
    with browser(width, theme) as driver:
        driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})  # for axe's own code
        for address in (page + "#arm=loophole&flag=1", study):
            load(driver, address)
            driver.execute_script("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
            driver.execute_script("const a = document.querySelector('#list a'); if (a) a.click();")
            driver.execute_script(Path(AXE).read_text(encoding="utf-8"))
            found = driver.execute_async_script("axe.run().then(arguments[0])")
            wrong = [(v["id"], v["help"], [n["html"][:200] for n in v["nodes"]][:3]) for v in found["violations"]]
            assert wrong == []
            assert {"color-contrast", "label"} <= {p["id"] for p in found["passes"]} or address == study
            wide = driver.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width, "the page itself does not scroll sideways"


def test_hostile_rollouts_are_harmless(chromium: Any, tmp_path: Path) -> None:
    directory = experiment(tmp_path / "hostile", hostile, seeds="2", steps=6)
    text, _ = build([directory], plugins.load())
    assert len(text) < 10_000_000
    (tmp_path / "report.html").write_text(text, encoding="utf-8")
    load(chromium, (tmp_path / "report.html").as_uri())
    assert chromium.title != "owned"
    links = chromium.execute_script("return [...document.querySelectorAll('#list a')].map((a) => a.hash)")
    seen = ""
    for link in links:
        chromium.execute_script("location.hash = arguments[0]", link)
        seen += chromium.execute_async_script("setTimeout(() => arguments[0](one.textContent), 0)")
    script = "<script>document.title='owned'</script>"
    for shown in (script, "U+001B", "U+202E", "U+200B", "more characters", "{{ 7 * 7 }}"):
        assert shown in seen, shown
    assert not set("\x1b\x00\u202e\u200b\ufeff") & set(seen)
    assert chromium.title != "owned"
    smuggled = "return document.querySelectorAll('#one img, #one script, #list img, .said img').length"
    assert chromium.execute_script(smuggled) == 0
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= 1280
    assert complaints(chromium) == []
    assert {a for a in requests(chromium) if not a.startswith(("data:", "file:"))} == set()


def test_a_live_page_loads_again_and_keeps_what_is_open(chromium: Any, tmp_path: Path) -> None:
    directory = experiment(tmp_path / "half", finish=False, seeds="1")
    file = tmp_path / "report.html"
    file.write_text(build([directory], plugins.load(), every=1)[0], encoding="utf-8")
    load(chromium, file.as_uri() + "#arm=loophole&flag=1")
    keys(chromium, "j", "\n")
    soon(lambda: opened(chromium) != "Choose a rollout.")
    before = opened(chromium)
    chromium.execute_script("window.old = true")
    soon(lambda: chromium.execute_script("return window.old") is None)
    assert opened(chromium) == before
    chromium.find_element("id", "pause").click()
    chromium.execute_script("window.old = true")
    time.sleep(2.5)
    assert chromium.execute_script("return window.old") is True
    assert "paused" in chromium.find_element("id", "live").text
