"""A server of a small network in this process, and clients of it."""

import contextlib
import functools
import warnings

import jax

import jaxrnn as rnn
from jaxrnn import data

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its client for HTTP
    from starlette.testclient import TestClient

from support.serving import app
from support.serving.engine import Engine
from support.serving.model import live
from support.serving.protocol import Limits

KNOWN = data.Bytes(bytes([9, 10, *range(32, 127)]))
SLOTS = 4
AT_EASE = Limits(messages=1e6, burst=10**6, clients=SLOTS)


def net(width=KNOWN.size):
    return rnn.Stack((rnn.Embed(width, 8), rnn.LSTM(8), rnn.Dense(width)))


def weights(layer, x=rnn.TOKEN):
    """Params so large that what is written depends on all that was read."""
    return jax.tree.map(lambda p: 4 * p, layer.init(jax.random.key(0), x))


@functools.cache
def engine():
    return Engine(live(net(), weights(net()), KNOWN), SLOTS)


def served(limits=AT_EASE, origins=()):
    """A client for HTTP, with WebSockets."""
    return TestClient(app.made(engine(), limits, origins))


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


def saved(path, layer=None, metadata=None, x=rnn.TOKEN):
    """A network in a file, by default one that is served."""
    layer = net() if layer is None else layer
    metadata = {"vocabulary": list(KNOWN.known)} if metadata is None else metadata
    rnn.save(path, layer, weights(layer, x), x, metadata=metadata)
    return path
