"""The server of a language model as a process: under a load, and in a browser."""

import re
import shutil
import sys

import pytest

from helpers.running import EXAMPLES

pytest.importorskip("starlette")
from helpers.serving import saved
from support.serving import soak
from support.serving.load import served


@pytest.fixture
def command(tmp_path):
    path = saved(tmp_path / "net.safetensors")
    return [sys.executable, str(EXAMPLES / "serve.py"), "--net", str(path), "--port", "0"]


@pytest.mark.slow
def test_a_soak_of_seconds(command):
    found = soak.soak(command, 10, 30)
    assert found["good"] > 10
    assert found["bad"] > 10
    wrong = ("different", "unexpected", "left", "tracebacks")
    assert [found[name] for name in wrong] == [0, 0, 0, 0], found
    assert (found["alive"], found["status"]) == (1, 143)


CHROME = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"


@pytest.fixture
def browser(tmp_path):
    programs = shutil.which("chromium"), shutil.which("chromedriver")
    if None in programs:
        pytest.skip("chromium and chromedriver are not installed")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for argument in [*CHROME.split(), f"--user-data-dir={tmp_path / 'chrome'}"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
    yield driver
    driver.quit()


COLOURS = """
const {width, height} = document.getElementById("gates");
const pen = new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true});
pen.drawImage(document.getElementById("gates"), 0, 0);
return new Set(new Uint32Array(pen.getImageData(0, 0, width, height).data.buffer)).size;
"""


@pytest.mark.slow
def test_the_page_writes_the_text_live_and_paints_the_gates(command, browser):
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    def part(name):
        return browser.find_element("id", name)

    def wait(true):
        WebDriverWait(browser, 30).until(lambda _: true())

    with served(command) as server:
        browser.get(f"http://{server.host}")
        wait(lambda: part("status").text == "Ready")
        before = browser.execute_script(COLOURS)
        part("go").click()
        wait(lambda: 3 < len(part("written").get_property("textContent")) < 500)
        wait(lambda: len(part("written").get_property("textContent")) > 30)
        wait(lambda: browser.execute_script(COLOURS) > before + 10)
        assert (part("go").text, part("status").text) == ("Stop", "Writing")
        part("gates").send_keys(Keys.ARROW_LEFT, Keys.ARROW_DOWN)
        assert re.match(r"input i, unit \d: [01]\.\d\d +at .*\[.+\]", part("reading").text)
        part("gates").send_keys(Keys.ESCAPE)
        wait(lambda: re.match(r"Stopped after \d+ characters", part("status").text))
        part("length").clear()
        part("length").send_keys("20", Keys.CONTROL, Keys.ENTER)  # by keyboard alone
        wait(lambda: part("status").text == "Written: 20 characters")
        assert part("given").get_property("textContent") == "def "
        assert browser.get_log("browser") == []
        assert server.end() == 143
        wait(lambda: "The connection is closed" in part("status").text)
