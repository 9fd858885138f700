"""Bad calls of `save`, `load` and the configuration's JSON."""

import pathlib
import tempfile

import jax
import jax.numpy as jnp

import jaxrnn as rnn
from helpers.bad_calls import Bad, at

FOLDER = tempfile.TemporaryDirectory()
ROOT = pathlib.Path(FOLDER.name)
(ROOT / "file").write_text("not a network, but a letter to a friend")

NET = rnn.Dense(2)
PARAMS = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
TRANSLATE = rnn.EncoderDecoder(rnn.GRU(2), rnn.GRU(2), "copy")


def save(layer=NET, params=PARAMS, x=3, path=ROOT / "net", **options):
    rnn.save(path, layer, params, x, **options)


def traced():
    jax.eval_shape(lambda params: save(params=params) or 0, PARAMS)


V, K = ValueError, TypeError

CALLS = [
    at("a number for a path", K, ("path=3", "net.safetensors"), save, path=3),
    at("a directory", IsADirectoryError, ("a directory", "Add a name"), save, path=ROOT),
    at("under a file", OSError, ("no file written",), save, path=ROOT / "file" / "net"),
    at("the params for a network", K, ("a layer", "LSTM(8)"), save, PARAMS, NET),
    at("a class", K, ("the class LSTM itself", "LSTM(8)"), save, rnn.LSTM),
    at("a function of one's own", K, ("Apply.f", "custom={"), save, rnn.Apply(lambda x: x), {}),
    at("other inputs", V, ("params.w float32[3, 2]", "float32[4, 2]"), save, x=4),
    at("other params", V, ("params.w_n", "need only"), save, params={**PARAMS, "w_n": PARAMS["w"]}),
    at("a number", K, ("params.b float", "asarray"), save, params={**PARAMS, "b": 1.0}),
    at("complex", K, ("complex64[2]",), save, params={**PARAMS, "b": jnp.ones(2, complex)}),
    at("a key", K, ("key<fry>[]", "key_data"), save, params={"b": jax.random.key(0)}),
    Bad("traced params", traced, K, ("being traced", "outside jit")),
    at("another state", V, ("state float32[2]", "unroll"), save, state=jnp.ones(2)),
    at(
        "a state of a model",
        V,
        ("EncoderDecoder", "Leave state out"),
        save,
        TRANSLATE,
        {"encoder": {}, "decoder": {}, "bridge": ()},
        (3, 3),
        state=(),
    ),
    at("one input for two", V, ("x=3", "(TOKEN, TOKEN)"), save, TRANSLATE),
    at("metadata as text", K, ("metadata as a str",), save, metadata="score 0.9"),
    at("an array in metadata", K, ("metadata with w",), save, metadata=PARAMS),
    at("NaN in metadata", K, ("loss=nan",), save, metadata={"loss": float("nan")}),
    at("custom as a list", K, ("custom as a list",), save, custom=[rnn.LSTM]),
    at("a name of jaxrnn's", V, ("'LSTM'", "another name"), save, custom={"LSTM": rnn.GRU}),
    at("a plain class", K, ("the class Path", "dataclass"), save, custom={"P": pathlib.Path}),
    at("a background write of nothing", K, ("a layer",), rnn.save_async, ROOT / "net", None, {}, 3),
    at("no file", FileNotFoundError, ("no file there",), rnn.load, ROOT / "none"),
    at("a letter", V, ("a file of another kind", "another copy"), rnn.load, ROOT / "file"),
    at("a run's directory", IsADirectoryError, ("training.restore",), rnn.load, ROOT),
    at("a path as bytes", K, ("path=b'net'",), rnn.load, b"net"),
    at("JSON of a string", V, ("a layer",), rnn.saving.from_json, "LSTM(8)"),
    at(
        "a user's class in JSON",
        V,
        ("the class Mine", "custom={"),
        rnn.saving.from_json,
        {"class": "Mine", "fields": {}},
    ),
    at(
        "no fields in JSON",
        V,
        ("hidden", "to_json"),
        rnn.saving.from_json,
        {"class": "LSTM", "fields": {}},
    ),
    at("JSON of nothing", K, ("a layer",), rnn.saving.to_json, None),
]
