"""What the server of a language model refuses, and what its page says to a browser."""

import contextlib
import json
import re

import pytest

pytest.importorskip("starlette")
from starlette.websockets import WebSocketDisconnect

from helpers import serving
from helpers.serving import KNOWN, SLOTS, opened, text
from support.serving import clients
from support.serving.protocol import Limits, parse


@pytest.fixture
def page():
    with serving.served(origins=["https://example.org"]) as client:
        yield client


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


def code(socket):
    """The code with which the server closes, and its reason."""
    said = socket.receive()
    assert said["type"] == "websocket.close", said
    assert len(said["reason"].encode()) <= 123
    return said["code"], said["reason"]


def test_limits_close_the_connection_with_their_code():
    with serving.served(Limits(idle=0.05, frame=100)) as page:
        with opened(page) as socket:
            assert code(socket) == (1001, "nothing was asked for 0.05 seconds")
        with opened(page) as socket:
            assert len(text(socket, prompt="a", length=10, rate=50)) == 10  # idle, yet writing
            socket.send_bytes(b"{}")
            assert code(socket)[0] == 1003
        with opened(page) as socket:
            socket.send_text("x" * 101)
            assert code(socket) == (1009, "a frame of more than 100 bytes")
    with serving.served(Limits(burst=3)) as page, opened(page) as socket:
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
