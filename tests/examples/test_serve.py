"""The laws of the server of a language model: whose text it is, and who waits for whom."""

import asyncio
import contextlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.running import example
from jaxrnn import data, decoding, diagnostics

pytest.importorskip("starlette")

from helpers import serving
from helpers.serving import KNOWN, SLOTS, TestClient, net, opened, read, rest, saved, text
from support.serving import app
from support.serving.batcher import Batcher
from support.serving.engine import Engine
from support.serving.model import Model, load, load_exported
from support.serving.protocol import Close, Limits, Start


@pytest.fixture
def page():
    with serving.served(origins=["https://example.org"]) as client:
        yield client


ASKED = [
    {"prompt": "def ", "length": 40, "seed": 1, "temperature": 1.0},
    {"prompt": "x", "length": 30, "seed": 1, "temperature": 0.5, "gates": True},
    {"prompt": "a long prompt\n", "length": 20, "seed": 2, "temperature": 0},
]


def test_a_text_is_the_same_alone_among_others_in_any_slot_and_the_librarys(page):
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
        state, logits = rnn.advance(net(), serving.engine().model.params, state, token)
        return state, logits.at[0].set(-jnp.inf)

    start, prompt = ASKED[0], jnp.asarray(KNOWN.encode(b"def "))
    first, key = net().initial_state(serving.engine().model.params), jax.random.key(1)
    _, tokens = decoding.sample(known, first, prompt, 40, key, temperature=start["temperature"])
    assert KNOWN.decode(tokens).decode() == alone[0]


def test_a_program_without_its_code_writes_the_same_text(page, tmp_path):
    pytest.importorskip("flatbuffers")
    model, path = serving.engine().model, tmp_path / "net.safetensors"
    known = {"vocabulary": list(KNOWN.known)}
    rnn.export(path, net(), model.params, rnn.TOKEN, platforms=("cpu",), metadata=known)
    with opened(page) as socket:
        want = text(socket, **ASKED[0])
    other = TestClient(app.made(Engine(load_exported(path), 2), Limits()))
    with other, opened(other) as socket, opened(other) as neighbour:
        neighbour.send_json({"prompt": "a", "length": 5000})
        assert text(socket, **ASKED[0]) == want
        assert text(socket, **ASKED[0], rate=300) == want  # the neighbour's steps without it, too
        socket.send_json(ASKED[1])
        assert "This network has no gates" in socket.receive_json()["error"]


def test_gates_are_those_of_a_record(page):
    with opened(page) as socket:
        socket.send_json(ASKED[1] | {"prompt": "def ", "length": 6})
        said, _ = rest(socket)
    whole = ("def " + "".join(message["text"] for message in said)).encode()[:-1]
    seen = diagnostics.record(net(), serving.engine().model.params, KNOWN.encode(whole))[1].gates
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


class Scripted:
    """An engine that writes what it is told, and fails when it is told to."""

    slots, gates, units = 2, (), 0

    def __init__(self, written, fails=0):
        self.model = Model("", None, data.Bytes.of(written), None, None)
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


def test_a_file_that_is_no_language_model_is_refused_in_one_line(tmp_path):
    known, path = {"vocabulary": list(KNOWN.known)}, tmp_path / "net.safetensors"
    assert load(saved(path)).vocabulary == KNOWN
    convolved = rnn.Stack((*net().cells[:1], rnn.CausalConv(8, 3), *net().cells[2:]))
    wrong = [
        (net(), {}, "got no vocabulary of bytes; need the bytes that the network"),
        (net(), {"vocabulary": "abc"}, "got no vocabulary of bytes"),
        (net(), {"vocabulary": [3, 2]}, "got no vocabulary of bytes"),
        (net(5), known, "got outputs of shape (5,); need 98 logits"),
        (rnn.GRU(3), known, "need a Stack from tokens to logits"),
        (convolved, known, "of layers whose states a record shows"),
    ]
    for layer, metadata, words in wrong:
        x = 2 if isinstance(layer, rnn.GRU) else rnn.TOKEN
        with pytest.raises(ValueError, match=re.escape(words)) as refused:
            load(saved(path, layer, metadata, x))
        assert "\n" not in str(refused.value)
    with pytest.raises(SystemExit, match=r"serve: .*nothing"):
        example("serve").main(["--net", str(tmp_path / "nothing")])
