"""The server of a language model: its laws, its limits, and what it refuses."""

import asyncio
import contextlib
import json
import re
import shutil
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.running import EXAMPLES, example
from jaxrnn import data, decoding, diagnostics

pytest.importorskip("starlette")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its client for HTTP
    from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from support.serving import app, clients, soak
from support.serving.batcher import Batcher
from support.serving.engine import Engine
from support.serving.load import served
from support.serving.model import Model, load
from support.serving.protocol import Close, Limits, Start, parse

KNOWN = data.Bytes(bytes([9, 10, *range(32, 127)]))
SLOTS = 4
AT_EASE = Limits(messages=1e6, burst=10**6, clients=SLOTS)


def net(width=KNOWN.size):
    return rnn.Stack((rnn.Embed(width, 8), rnn.LSTM(8), rnn.Dense(width)))


@pytest.fixture(scope="module")
def engine():
    # Weights so large that what is written depends on all that was read.
    params = jax.tree.map(lambda p: 4 * p, net().init(jax.random.key(0), rnn.TOKEN))
    return Engine(Model(net(), params, KNOWN), SLOTS)


@pytest.fixture
def page(engine):
    with TestClient(app.made(engine, AT_EASE, ["https://example.org"])) as client:
        yield client


@contextlib.contextmanager
def opened(page, **headers):
    with page.websocket_connect("/write", headers=headers) as socket:
        assert "ready" in socket.receive_json()
        yield socket


def rest(socket):
    """What comes until the text is done, and why it is."""
    said = []
    while "done" not in (message := socket.receive_json()):
        assert "text" in message, message
        said.append(message)
    return said, message["done"]


def text(socket, **start):
    socket.send_json(start)
    return read(socket)


def read(socket):
    said, why = rest(socket)
    assert why == "length"
    return "".join(message["text"] for message in said)


ASKED = [
    {"prompt": "def ", "length": 40, "seed": 1, "temperature": 1.0},
    {"prompt": "x", "length": 30, "seed": 1, "temperature": 0.5, "gates": True},
    {"prompt": "a long prompt\n", "length": 20, "seed": 2, "temperature": 0},
]


def test_a_text_is_the_same_alone_among_others_in_any_slot_and_the_librarys(engine, page):
    alone = []
    for start in ASKED:
        with opened(page) as socket:
            alone.append(text(socket, **start))
    assert len(set(alone)) == 3
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(opened(page)) for _ in range(SLOTS)]
        for turn in range(SLOTS):  # another slot, and another neighbour, each time
            for socket, start in zip(sockets[turn:], ASKED, strict=False):
                socket.send_json(start | {"rate": 300 + 200 * turn})  # steps without it, too
            for socket, want in zip(sockets[turn:], alone, strict=False):
                assert read(socket) == want

    def known(state, token):  # what is not known cannot be written
        state, logits = rnn.advance(engine.model.net, engine.model.params, state, token)
        return state, logits.at[0].set(-jnp.inf)

    start, prompt = ASKED[0], jnp.asarray(KNOWN.encode(b"def "))
    first, key = engine.model.net.initial_state(engine.model.params), jax.random.key(1)
    _, tokens = decoding.sample(known, first, prompt, 40, key, temperature=start["temperature"])
    assert KNOWN.decode(tokens).decode() == alone[0]


def test_gates_are_those_of_a_record(engine, page):
    with opened(page) as socket:
        socket.send_json(ASKED[1] | {"prompt": "def ", "length": 6})
        said, _ = rest(socket)
    whole = ("def " + "".join(message["text"] for message in said)).encode()[:-1]
    seen = diagnostics.record(
        engine.model.net, engine.model.params, KNOWN.encode(whole), state=None
    )[1].gates
    for name in ("i", "f", "g", "o"):
        got = [message["gates"][name] for message in said]
        np.testing.assert_allclose(got, 100 * getattr(seen, name)[3:], atol=0.51)


def test_a_text_can_be_stopped_and_nothing_of_it_stays(page):
    with opened(page) as socket:
        want = text(socket, **ASKED[0])
        socket.send_json({"prompt": "zzz", "length": 5000, "rate": 50})
        first = socket.receive_json()
        assert list(first) == ["text"]
        socket.send_json({"prompt": "a"})
        while "error" not in (said := socket.receive_json()):
            pass
        assert 'Wait for "done", or send {"stop": true}' in said["error"]
        socket.send_json({"stop": True})
        assert rest(socket)[1] == "stop"
        assert text(socket, **ASKED[0]) == want
    with opened(page) as socket:  # the slot of the one before
        assert text(socket, **ASKED[0]) == want
        socket.send_json({"prompt": "a", "length": 5000})
    with opened(page) as socket:  # which left in the middle
        assert text(socket, **ASKED[0]) == want
    while page.get("/health").json() != {"clients": 0, "writing": 0}:
        pass


WRONG = [
    ("{", "frame: got '{'; need JSON"),
    ("[" * 9000, "need JSON"),
    ("[1]", 'message: got [1]; need an object with "prompt", or {"stop": true}'),
    ('{"stop": 1}', 'need an object with "prompt"'),
    ('{"prompt": 5}', "prompt: got 5; need a text of 1 to 1000 bytes"),
    ('{"prompt": ""}', "prompt: got 0 bytes"),
    (json.dumps({"prompt": "a" * 1001}), "prompt: got 1001 bytes"),
    ('{"prompt": "a\\u2603"}', "prompt: got '\\u2603'; need characters of the text that"),
    ('{"prompt": "a", "colour": 1}', "got a field 'colour'; need one of prompt, length,"),
    ('{"prompt": "a", "length": 1.5}', "length: got 1.5; need an integer from 1 to 5000"),
    ('{"prompt": "a", "seed": true}', "seed: got true; need an integer from 0 to 4294967295"),
    ('{"prompt": "a", "temperature": NaN}', "temperature: got NaN; need a number from 0 to 5"),
    ('{"prompt": "a", "gates": 1}', "gates: got 1; need true or false"),
    ('{"prompt": "a", "rate": 0}', "rate: got 0; need a number from 1 to 1000"),
]


def test_each_bad_frame_has_one_error_and_the_connection_goes_on(page):
    with opened(page) as socket:
        for frame, words in WRONG + [(frame, "") for frame in clients.BAD]:
            socket.send_text(frame)
            said = socket.receive_json()
            assert list(said) == ["error"], frame
            assert words in said["error"], said
            assert "\n" not in said["error"]
            assert len(said["error"]) < 250
        assert len(text(socket, prompt="a", length=3)) == 3
    with pytest.raises(ValueError, match="This network has no gates"):
        parse('{"prompt": "a", "gates": true}', KNOWN, Limits(), False)


@contextlib.contextmanager
def limited(engine, **limits):
    with TestClient(app.made(engine, Limits(**limits))) as page:
        yield page


def code(socket):
    """The code with which the server closes, and its reason."""
    said = socket.receive()
    assert said["type"] == "websocket.close", said
    assert len(said["reason"].encode()) <= 123
    return said["code"], said["reason"]


def test_limits_close_the_connection_with_their_code(engine):
    with limited(engine, idle=0.05, frame=100) as page:
        with opened(page) as socket:
            assert code(socket) == (1001, "nothing was asked for 0.05 seconds")
        with opened(page) as socket:
            assert len(text(socket, prompt="a", length=10, rate=50)) == 10  # idle, yet writing
            socket.send_bytes(b"{}")
            assert code(socket)[0] == 1003
        with opened(page) as socket:
            socket.send_text("x" * 101)
            assert code(socket) == (1009, "a frame of more than 100 bytes")
    with limited(engine, burst=3) as page, opened(page) as socket:
        for _ in range(4):
            socket.send_text("{")
        assert [list(socket.receive_json()) for _ in range(3)] == [["error"]] * 3
        assert code(socket) == (1008, "more than 5 messages a second")


def test_one_client_too_many_is_told_to_come_again(page):
    with contextlib.ExitStack() as stack:
        for _ in range(SLOTS):
            stack.enter_context(opened(page))
        with page.websocket_connect("/write") as socket:
            assert code(socket) == (1013, "all 4 places are taken; try again later")
    with opened(page) as socket:
        assert text(socket, prompt="a", length=1)


def test_other_servers_pages_may_not_connect(page):
    for origin in ("https://elsewhere.org", "null", "http://testserver.elsewhere.org"):
        with pytest.raises(WebSocketDisconnect), opened(page, origin=origin):
            pass
    for origin in ("http://testserver", "https://example.org"):
        with opened(page, origin=origin):
            pass


def test_the_page_needs_nothing_from_elsewhere_and_says_so(page):
    for path in ("/", "/page.js", "/gates.js", "/style.css", "/icon.svg", "/health", "/nothing"):
        answer = page.get(path)
        assert answer.status_code == (404 if path == "/nothing" else 200)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", answer.text)
        assert not re.search(r"<script>|<style|\sstyle=|\son\w+=", answer.text)
    assert page.get("/%2e%2e/app.py").status_code == 404
    assert page.post("/").status_code == 405
    html = page.get("/").text
    for name in re.findall(r'<(?:input|textarea) id="(\w+)"', html):
        assert re.search(
            rf'<label[^>]*>[^<]*(?:<output[^>]*>[^<]*</output>\s*)?<\w+ id="{name}"', html
        )


class Scripted:
    """An engine that writes what it is told, and fails when it is told to."""

    slots, gates, units = 2, (), 0

    def __init__(self, written, fails=0):
        self.model = Model(net(), None, data.Bytes.of(written))
        self.tokens, self.fails = self.model.vocabulary.encode(written), fails

    def __call__(self, ask, looks):
        self.fails -= 1
        if self.fails == 0:
            raise RuntimeError("out of memory\nat length")
        return self.tokens[ask.counts], None

    def clear(self):
        pass


def start(length):
    return Start([1], length, 1.0, 0, False, float("inf"))


async def until_done(client):
    said = []
    while not said or not (isinstance(said[-1], Close) or "done" in said[-1]):
        said.append(await client.outbox.get())
    return said


def test_one_that_does_not_read_is_held_up_alone():
    async def scenario():
        batcher = Batcher(Scripted(b"0123456789" * 10), Limits(queue=4))
        async with batcher.running():
            deaf, other = batcher.join(), batcher.join()
            assert batcher.join() is None
            batcher.start(deaf, start(20))
            for _ in range(3):
                batcher.start(other, start(30))
                assert len(await until_done(other)) == 31
            assert deaf.outbox.qsize() == 4
            batcher.wake.set()
            said = []
            while deaf.text is not None or deaf.outbox.qsize():
                said.append(await deaf.outbox.get())
                batcher.wake.set()
            assert "".join(m.get("text", "") for m in said) == "01234567890123456789"

    asyncio.run(scenario())


def test_one_that_never_reads_is_dropped():
    class Deaf:
        closed = None

        async def send_text(self, text):
            await asyncio.sleep(100)

        async def accept(self):
            pass

        async def receive(self):
            await asyncio.sleep(100)

        async def close(self, code, reason):
            self.closed = code, reason

    async def scenario():
        batcher, socket = Batcher(Scripted(b"a"), Limits(stall=0.05)), Deaf()
        await app.serve(socket, batcher)
        assert socket.closed == (1008, "nothing was read for 0.05 seconds")
        assert not batcher.clients
        assert len(batcher.free) == 2

    asyncio.run(scenario())


def test_a_failed_step_ends_the_texts_and_not_the_server(caplog):
    async def scenario():
        batcher = Batcher(Scripted(b"abcdef", fails=3), Limits())
        async with batcher.running():
            client = batcher.join()
            batcher.start(client, start(6))
            assert (await until_done(client))[2:] == [Close(1011, "the network failed; try again")]
            batcher.start(client, start(6))
            assert len(await until_done(client)) == 7

    asyncio.run(scenario())
    assert [record.message for record in caplog.records] == ["a step failed: out of memory"]


def test_characters_of_several_bytes_come_whole():
    async def scenario():
        batcher = Batcher(Scripted("a€é☃".encode()), Limits())
        async with batcher.running():
            client = batcher.join()
            batcher.start(client, start(8))  # the last character lacks a byte
            return await until_done(client)

    said = asyncio.run(scenario())
    assert [m["text"] for m in said[:-1]] == ["a", "", "", "€", "", "é", "", "", "\ufffd"]
    assert said[-1] == {"done": "length", "written": 8}


def saved(path, layer, metadata, x=rnn.TOKEN):
    rnn.save(path, layer, layer.init(jax.random.key(0), x), x, metadata=metadata)
    return path


def test_a_file_that_is_no_language_model_is_refused_in_one_line(tmp_path):
    known, path = {"vocabulary": list(KNOWN.known)}, tmp_path / "net.safetensors"
    assert load(saved(path, net(), known)).vocabulary == KNOWN
    convolved = rnn.Stack((*net().cells[:1], rnn.CausalConv(8, 3), *net().cells[2:]))
    wrong = [
        (net(), {}, "got no vocabulary of bytes; need the bytes it knows"),
        (net(), {"vocabulary": "abc"}, "got no vocabulary of bytes"),
        (net(), {"vocabulary": [3, 2]}, "got a vocabulary out of order"),
        (net(5), known, "got other outputs; need 98 logits"),
        (rnn.GRU(3), known, "need a Stack from tokens to logits"),
        (
            rnn.Stack((*net().cells[:1], rnn.CausalConv(8, 3), *net().cells[2:])),
            known,
            "need cells,",
        ),
    ]
    for layer, metadata, words in wrong:
        x = 2 if isinstance(layer, rnn.GRU) else rnn.TOKEN
        with pytest.raises(ValueError, match=re.escape(words)) as refused:
            load(saved(path, layer, metadata, x))
        assert "\n" not in str(refused.value)
    with pytest.raises(SystemExit, match=r"serve: .*nothing"):
        example("serve").main(["--net", str(tmp_path / "nothing")])


@pytest.fixture
def command(tmp_path):
    path = saved(tmp_path / "net.safetensors", net(), {"vocabulary": list(KNOWN.known)})
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
