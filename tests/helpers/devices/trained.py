"""Training on a mesh, against the same on one device."""

import functools
import tempfile

import jax
import numpy as np
import optax
from jax.sharding import PartitionSpec as P

import jaxrnn as rnn
from helpers.devices.cases import BATCH, STEPS, compare, grid
from jaxrnn import data, training

NET = rnn.Stack((rnn.Embed(8, 4), rnn.LSTM(4), rnn.Dropout(0.2), rnn.Dense(8)))
TX = training.optimizer(optax.adam(3e-2), clip=1.0)
TOKENS = np.random.default_rng(0).integers(0, 8, 600).astype(np.int32)
SEGMENTS = data.Segments(TOKENS, BATCH, STEPS, keep_last=True)  # with a mask
COUNT = 6


def begun(carried=True):
    params = NET.init(jax.random.key(0), rnn.TOKEN)
    shape = (BATCH,) if carried else None
    return training.TrainState.create(NET, params, TX, jax.random.key(1), shape)


def evaluate(state):
    held = data.stream(TOKENS[:99])
    return {"bits": training.evaluate(NET, training.cross_entropy, state.params, held)[1].bits}


TBPTT = training.truncated_bptt_step(NET, training.cross_entropy, TX)
FIT = functools.partial(
    training.fit,
    steps=COUNT,
    evaluate=evaluate,
    evaluate_every=2,
    best="bits",
    best_mode="min",
    progress=False,
)


@functools.cache
def on_one_device():
    return FIT(TBPTT, begun(), SEGMENTS)


def numbers(state):
    return state._replace(key=jax.random.key_data(state.key))


def curves(run):
    return {name: column.astype(np.float32) for name, column in run[1].metrics.items()}


def close(got, want):
    """The state and the history of a run."""
    compare(numbers(got[0]), numbers(want[0]))
    compare(curves(got), curves(want))
    compare(got[1].best.params, want[1].best.params)
    assert got[1].best.step == want[1].best.step


def places(tree):
    return [leaf.sharding for leaf in jax.tree.leaves(tree)]


def fitted(shape, weights, split):
    """A whole run, whose state lies after it as before; `split` are the specs of some leaves."""
    mesh = grid(*shape)
    begin = training.place(begun(), mesh, "b", weights=weights)
    got = FIT(TBPTT, begin, lambda step: data.place(SEGMENTS(step), mesh, "b"))
    close(got, on_one_device())
    assert places(got[0]) == places(begin), "the state has moved"
    assert {c.sharding.spec for c in jax.tree.leaves(got[0].carry)} == {P("b")}
    rows = {c.addressable_shards[0].data.shape[0] for c in jax.tree.leaves(got[0].carry)}
    assert rows == {BATCH // shape[0]}, "a device carries the states of others"
    adam = next(
        x
        for x in jax.tree.leaves(got[0].opt_state, is_leaf=lambda x: hasattr(x, "mu"))
        if hasattr(x, "mu")
    )
    for tree in (got[0].params, adam.mu, adam.nu):
        for (layer, name), spec in split.items():
            assert tree[layer][name].sharding.spec == spec, (layer, name, tree[layer][name])


def whole_sequences():
    """`bptt_step` over padded rows."""
    mesh = grid(8)
    rows = [TOKENS[n : 2 * n + 2] % 8 for n in range(20)]
    source = data.Buckets((rows, rows), batch=BATCH, buckets=1)
    step = training.bptt_step(NET, training.cross_entropy, TX)
    run = functools.partial(training.fit, step, steps=4, progress=False)
    got = run(
        training.place(begun(False), mesh, "b"), lambda n: data.place(source(n), mesh, axis="b")
    )
    want = run(begun(False), source)
    compare((got[0].params, curves(got)), (want[0].params, curves(want)))
    pooled = data.place(data.Buckets((rows, np.arange(20)), BATCH)(0), mesh, "b")
    assert pooled.columns[1].sharding.spec == P("b")
    assert pooled.columns[0].sharding.spec == pooled.masks[0].sharding.spec == P(None, "b")


def resumed():
    """Saved on eight devices, gone on with on four, on one, and read on a mesh."""
    mesh, few = grid(4, 2), jax.sharding.Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("b", "m"))
    with tempfile.TemporaryDirectory() as folder:
        begin = training.place(begun(), mesh, "b", weights="m")
        weights = begin.params[1]
        assert (weights["w_h"].sharding.spec, weights["b"].sharding.spec) == (P(None, "m"), P("m"))
        got = FIT(
            TBPTT,
            begin,
            lambda step: data.place(SEGMENTS(step), mesh, "b"),
            steps=2,
            directory=folder,
        )
        alone, history = training.restore(folder, begun())
        for a, b in zip(*map(jax.tree.leaves, map(numbers, (alone, got[0]))), strict=True):
            assert np.array_equal(a, b), "restored are other numbers"
        assert {len(s.device_set) for s in places(alone)} == {1}
        template = training.place(begun(), few, "b", weights="m")
        on_few, history = training.restore(folder, template)
        assert places(on_few) == places(template)
        assert places(history.best.params) == places(template.params)
        got = FIT(
            TBPTT,
            template,
            lambda step: data.place(SEGMENTS(step), few, "b"),
            steps=4,
            directory=folder,
        )
        assert places(got[0]) == places(template)
        got = FIT(TBPTT, begun(), SEGMENTS, directory=folder)
        close(got, on_one_device())


RULES = {r"w_(x|h)$": P(None, "m"), r"^0/w": P("m")}
TRAINED = {
    "batch": functools.partial(fitted, (8,), None, {(1, "w_h"): P()}),
    "batch and some weights": functools.partial(
        fitted, (2, 4), RULES, {(1, "w_h"): P(None, "m"), (1, "b"): P(), (0, "w"): P("m")}
    ),
    "whole sequences": whole_sequences,
    "saved and restored": resumed,
}
