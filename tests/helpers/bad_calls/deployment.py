"""Bad calls of `export`, `load_exported` and what it reads."""

import functools
import pathlib
import tempfile

import jax
import jax.numpy as jnp

import jaxrnn as rnn
from helpers.bad_calls import Bad, at

FOLDER = tempfile.TemporaryDirectory()
ROOT = pathlib.Path(FOLDER.name)
(ROOT / "file").write_text("not a network, but a letter to a friend")

NET, BOTH = rnn.Elman(2), rnn.Bidirectional(rnn.Elman(2))
PARAMS = NET.init(jax.random.key(0), 3)
OTHER = {**PARAMS, "w_x": jnp.ones((4, 2))}
XS, STATE, LENGTHS = jnp.ones((4, 5, 3)), jnp.ones((4, 2)), jnp.ones(5, int)


def export(layer=NET, params=PARAMS, x=3, path=ROOT / "net", **options):
    rnn.export(path, layer, params, x, **options)


@functools.cache
def loaded(layer=NET, platforms=("cpu",)):
    export(layer, layer.init(jax.random.key(0), 3), platforms=platforms)
    return rnn.load_exported(ROOT / "net")


def step(state=None, x=XS[0], **options):
    exported = loaded()
    return exported.step(jnp.zeros((5, 2)) if state is None else state, x, **options)


def sequence(xs=XS, *args, **options):
    return loaded().sequence(xs, *args, **options)


V, K = ValueError, TypeError

CALLS = [
    at("a number for a path", K, ("path=3",), export, path=3),
    at("a directory", IsADirectoryError, ("Add a name",), export, path=ROOT),
    at("a class", K, ("the class itself", "LSTM(128)"), export, rnn.LSTM),
    at("params for a network", K, ("a dict",), export, PARAMS, NET),
    at("other inputs", V, ("params.w_x float32[3, 2]", "float32[4, 2]"), export, x=4),
    at("a name of a strategy", K, ("strategy='scan'", "Scan()"), export, strategy="scan"),
    at("one platform as text", K, ("platforms='tpu'", "a tuple"), export, platforms="tpu"),
    at("a gpu", V, ("'gpu'", '"cuda" or "rocm"'), export, platforms=("cpu", "gpu")),
    at("no platform", V, ("platforms=()",), export, platforms=()),
    at("a shape of rows", K, ("rows=(4,)",), export, rows=(4,)),
    at("half an order", K, ("vjp_order=0.5",), export, vjp_order=0.5),
    at("metadata as text", K, ("metadata as a str",), export, metadata="score 0.9"),
    at(
        "a memory",
        V,
        ("takes a memory", "bind the memory"),
        export,
        rnn.AttentionCell(NET, 3),
    ),
    at(
        "steps that do not divide",
        V,
        ("sequence by Scan(unroll=2)", "strategy=Scan()"),
        export,
        strategy=rnn.Scan(unroll=2),
    ),
    at("no file", FileNotFoundError, ("no file there",), rnn.load_exported, ROOT / "none"),
    at("a letter", V, ("a file of another kind",), rnn.load_exported, ROOT / "file"),
    at("a path as bytes", K, ("path=b'net'",), rnn.load_exported, b"net"),
    at("one call", K, ("custom_calls='f'",), rnn.load_exported, ROOT / "none", custom_calls="f"),
    at("other features", V, ("x float32[5, 2]", "[..., 3]"), step, x=XS[0, :, :2]),
    at("other rows", V, ("float32[5, 2]", "initial_state"), step, x=XS),
    at("a list", K, ("x as", "in this structure"), step, x=[1.0, 2.0, 3.0]),
    at(
        "other params",
        V,
        ("params.w_x float32[4, 2]", ".params"),
        step,
        params={**PARAMS, "w_x": jnp.ones((4, 2))},
    ),
    at("tokens", K, ("int32[4, 5, 3]", "astype(float32)"), sequence, XS.astype(int)),
    at("one vector", V, ("xs float32[3]", "step for one"), sequence, XS[0, 0]),
    at("no steps", V, ("0 steps", "at least one"), sequence, XS[:0]),
    at("no rows", V, ("0 rows", "at least one"), sequence, XS[:, :0]),
    at(
        "lengths for a mask",
        V,
        ("mask int32[5]", "lengths_to_mask"),
        sequence,
        mask=jnp.ones(5, int),
    ),
    at(
        "a state of other rows",
        V,
        ("float32[4, 2]", "float32[5, 2]"),
        sequence,
        XS,
        jnp.ones((4, 2)),
    ),
    at("a number of rows", K, ("batch_shape=4", "(4,)"), lambda: loaded().initial_state(4)),
    Bad(
        "a step of both ways",
        lambda: loaded(BOTH).step((), XS[0]),
        V,
        ("a causal layer", "sequence(xs)"),
    ),
    Bad("a TPU's program here", lambda: loaded(NET, ("tpu",)).sequence(XS), V, ("for tpu", "cpu")),
]
