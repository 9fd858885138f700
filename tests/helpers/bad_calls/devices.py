"""Bad calls of what lays arrays out over a mesh of devices, and of time cut over one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P

import jaxrnn as rnn
from helpers.bad_calls import at
from jaxrnn import data, training

DEVICES = np.array(jax.devices()[:1])
MESH = Mesh(DEVICES.reshape(1, 1), ("batch", "model"))
# Of a mesh of many devices only the sizes are looked at before anything is refused.
WIDE = Mesh(np.repeat(DEVICES, 8).reshape(4, 2), ("batch", "model"))
TALL = Mesh(np.repeat(DEVICES, 2).reshape(2, 1), ("model", "batch"))
TYPED = jax.make_mesh((1,), ("batch",), axis_types=(AxisType.Explicit,), devices=DEVICES)
NET = rnn.GRU(3)
PARAMS = NET.init(jax.random.key(0), 2)
RUN = training.TrainState.create(NET, PARAMS, optax.sgd(0.1), jax.random.key(1), (6,))
BATCH = data.Batch(np.ones((5, 6, 2), np.float32), np.ones((5, 6, 3), np.float32))
STATE = partial(training.place, PARAMS)
ROWS = partial(data.place, BATCH)
LINEAR = rnn.LRU(3)
LINEAR_PARAMS = LINEAR.init(jax.random.key(0), 2)


def timed(strategy, xs=BATCH.xs, mesh=MESH, cell=LINEAR, params=LINEAR_PARAMS):
    with jax.set_mesh(mesh):
        rnn.unroll(cell, params, xs, strategy=strategy)


def within(axis):
    """`Associative` where its axis is already mapped."""
    run = partial(rnn.unroll, LINEAR, LINEAR_PARAMS, strategy=rnn.Associative(axis=axis))
    jax.shard_map(run, mesh=MESH, in_specs=P(axis), out_specs=P(), check_vma=False)(BATCH.xs)


SCAN = partial(rnn.linear_scan, jnp.ones(2), jnp.ones((4, 2)), jnp.zeros(2))

CALLS = [
    at("devices for a mesh", TypeError, ("mesh", "Mesh("), STATE, list(DEVICES)),
    at("a state on no such axis", ValueError, ("'rows'", "'batch' of 1"), STATE, MESH, "rows"),
    at("a state on two axes", TypeError, ("axis=",), STATE, MESH, ("batch", "model")),
    at("a state on typed axes", ValueError, ("automatic",), STATE, TYPED),
    at("a carry of six on four", ValueError, ("state.carry", "4"), training.place, RUN, WIDE),
    at("weights on no such axis", ValueError, ("'rows'",), STATE, MESH, weights="rows"),
    at(
        "weights that none divides",
        ValueError,
        ("float32[3]", "2"),
        training.place,
        {"b": PARAMS["b_n"]},
        WIDE,
        weights="model",
    ),
    at("weights by a list", TypeError, ("list", "w_h"), STATE, MESH, weights=["w_h"]),
    at("weights by a string", TypeError, ("'model'", "P"), STATE, MESH, weights={"w": "model"}),
    at("no such weight", ValueError, ("'w_q'", "w_h"), STATE, MESH, weights={"w_q": P("model")}),
    at("a broken pattern", ValueError, ("regular",), STATE, MESH, weights={"w_(": P("model")}),
    at("a weight by no such axis", ValueError, ("'m'",), STATE, MESH, weights={"w_h": P("m")}),
    at(
        "a weight of three axes",
        ValueError,
        ("w_h", "3 axes"),
        STATE,
        MESH,
        weights={"w_h": P(None, None, "model")},
    ),
    at(
        "a weight of odd size",
        ValueError,
        ("w_h", "multiple of 2"),
        STATE,
        WIDE,
        weights={"w_h": P("model")},
    ),
    at(
        "weights of shardings",
        ValueError,
        ("'w'",),
        training.shardings,
        {"b": PARAMS["b"]},
        MESH,
        weights={"w": P("model")},
    ),
    at("six rows on four", ValueError, ("batch.xs", "4"), ROWS, WIDE),
    at("rows on no such axis", ValueError, ("'rows'",), ROWS, MESH, "rows"),
    at("steps on no such axis", ValueError, ("'time'",), ROWS, MESH, time="time"),
    at("five steps on two", ValueError, ("batch.xs", "2"), data.place, BATCH, TALL, time="model"),
    at("local by word", TypeError, ("local",), ROWS, MESH, local="yes"),
    at("labels without time", ValueError, ("2 axes",), data.place, np.ones(6), MESH),
    at("a batch of lists", TypeError, ("float",), data.place, [[1.0, 2.0]], MESH),
    at("time by number", TypeError, ("axis=0", "name"), rnn.Associative, axis=0),
    at(
        "time without its mesh",
        ValueError,
        ("'time'", "set_mesh"),
        timed,
        rnn.Associative(axis="time"),
    ),
    at(
        "five steps over two",
        ValueError,
        ("5 steps", "2 devices"),
        timed,
        rnn.Associative(axis="model"),
        mesh=WIDE,
    ),
    at(
        "time of a GRU",
        TypeError,
        ("fallback",),
        timed,
        rnn.Associative(axis="model"),
        cell=NET,
        params=PARAMS,
    ),
    at("time in a shard_map", ValueError, ("shard_map",), within, "batch"),
    at(
        "time on typed axes",
        ValueError,
        ("automatic",),
        timed,
        rnn.Associative(axis="batch"),
        mesh=TYPED,
    ),
    at("a scan by number", TypeError, ("axis=1",), SCAN, axis=1),
    at("a scan on no mapped axis", ValueError, ("shard_map",), SCAN, axis="time"),
]
