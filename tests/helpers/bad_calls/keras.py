"""Bad calls of `interop.keras`."""

import jax
import jax.numpy as jnp
import keras

import jaxrnn as rnn
from helpers.bad_calls import Bad, at
from jaxrnn.interop.keras import from_keras, load_keras, to_keras

V, K, L = ValueError, TypeError, keras.layers
KEY, GRU = jax.random.key(0), rnn.GRU(2)
PARAMS = GRU.init(KEY, 3)
MIXED = PARAMS | {"b": PARAMS["b"].astype(jnp.float16)}
NET = rnn.Pooled(GRU, rnn.Dense(2))
STACK = rnn.Stack((rnn.Embed(5, 3), GRU))
BARE = {name: leaf for name, leaf in PARAMS.items() if name != "b_n"}
EMBEDDED = ({"w": jnp.ones((5, 4))}, PARAMS)


def keras_layer(make):
    return lambda: from_keras(make())


CALLS = [
    at("a class", V, ("a type", "Build a layer"), from_keras, L.LSTM),
    at("a path", V, ("a str", "load_keras"), from_keras, "net.keras"),
    at("ours", V, ("a GRU", "of Keras"), from_keras, GRU),
    Bad("not built", keras_layer(lambda: L.LSTM(2)), V, ("not built", "build((None, None, 3))")),
    Bad("other gates", keras_layer(lambda: L.GRU(2, "relu")), V, ("activation='relu'", "'tanh'")),
    Bad("a convolution", keras_layer(lambda: L.Conv1D(2, 3)), V, ("a Conv1D", "LSTM")),
    Bad("a state", keras_layer(lambda: L.LSTM(2, stateful=True)), V, ("stateful", "state=")),
    Bad("a lambda", keras_layer(lambda: L.Dense(2, activation=lambda x: x)), V, ("activation",)),
    at("biases=2", V, ("'both'",), from_keras, L.LSTM(2), biases=2),
    at("a cell that Keras lacks", V, ("a LRU",), to_keras, rnn.LRU(2), {}),
    at("a class of ours", V, ("a class that Keras lacks",), to_keras, rnn.GRU, PARAMS),
    at("another's params", V, ("unknown ['b_n']",), to_keras, rnn.LSTM(2), PARAMS),
    at("no b_n", V, ("missing ['b_n']",), to_keras, GRU, BARE),
    at("no params", V, ("no leaves",), to_keras, GRU, None),
    at("no pair", V, ("a pair",), to_keras, NET, PARAMS),
    at("another width", V, ("params['w'] float32[5, 4]",), to_keras, STACK, EMBEDDED),
    at("two dtypes", V, ("float16", "Cast"), to_keras, GRU, MIXED),
    Bad("under jit", lambda: jax.jit(lambda p: to_keras(GRU, p))(PARAMS), K, ("outside jit",)),
    at("a model for a path", K, ("path=GRU",), load_keras, GRU),
    at("no file", FileNotFoundError, ("no file",), load_keras, "net.keras"),
    at("a folder", IsADirectoryError, ("a directory",), load_keras, "/"),
    at("biases of a file", V, ("'both'",), load_keras, "net.keras", biases=None),
]
