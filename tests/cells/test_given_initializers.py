"""Initializers that a user gives to cells and layers."""

import dataclasses
import inspect
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.cases import CELLS
from jaxrnn.testing import contract
from jaxrnn.testing.inputs import example

KEY = jax.random.key(0)
ZEROS = jax.nn.initializers.zeros
CASES = {name: (case.cell, case.x) for name, case in CELLS.items()} | {
    "attention": (rnn.Attention(3, 2), 3),
    "additive attention": (rnn.Attention(3, 2, "additive"), 3),
    "attend": (rnn.AttentionCell(rnn.Elman(3), 2), 3),
}

# What has no initializer: it is drawn as a paper says, or belongs to a cell inside.
STRUCTURED = {"nu", "theta", "gamma", "l_re", "l_im", "log_step", "log_a", "decay", "leak"} | {
    *("eps", "dt", "epsilon")
}


def fields(cell):
    return [f.name for f in dataclasses.fields(cell) if f.name.endswith("_init")]


def leaves(cell, params):
    """A cell's own params by their last keys; it has no two of one name."""
    if isinstance(cell, rnn.TiedEmbedding):
        params = params[0], *params[2:]  # the body has its own initializers
    paths = jax.tree_util.tree_flatten_with_path(params)[0]
    named = {path[-1].key: leaf for path, leaf in paths}
    assert len(named) == len(paths)
    return named


def quick(names):
    """Variants of other cells for the slow tests alone."""
    slow = {name for name, case in CELLS.items() if case.variant}
    return [pytest.param(n, marks=pytest.mark.slow) if n in slow else n for n in names]


def quarter(key, shape, dtype):
    return np.full(shape, 0.25, dtype)


@pytest.mark.parametrize("name", quick(n for n, (cell, _) in CASES.items() if fields(cell)))
def test_an_initializer_reaches_its_param_and_no_other(name):
    cell, x = CASES[name]
    before = leaves(cell, cell.init(KEY, x))
    for field in fields(cell):
        if cell == CASES["irnn"][0] and field == "w_h_init":
            continue  # which the identity forbids
        param = field.removesuffix("_init")
        if param not in before:
            with pytest.raises(ValueError, match=f"{field} for a param that is not there"):
                dataclasses.replace(cell, **{field: quarter}).init(KEY, x)
            continue
        given = dataclasses.replace(cell, **{field: quarter})
        after = leaves(cell, given.init(KEY, x))
        assert before.keys() == after.keys()
        for other in before:
            if other == param:
                # A reservoir's radius scales what was drawn.
                scaled = isinstance(cell, rnn.EchoState) and param == "w_h"
                value = 0.9 / len(after[param]) if scaled else 0.25
                np.testing.assert_allclose(after[param], value, 1e-5)
            else:
                np.testing.assert_array_equal(before[other], after[other], other)


def test_every_param_has_an_initializer():
    found = set()
    for cell, x in CASES.values():
        kind = type(cell)
        if not kind.__module__.startswith(("jaxrnn.cells", "jaxrnn.layers")):
            continue  # of attention, see above
        params = jax.eval_shape(lambda cell=cell, x=x: cell.init(KEY, x))
        names = leaves(cell, params)
        structured = STRUCTURED | ({"b"} if kind is rnn.S6 else set())
        assert names.keys() - {f.removesuffix("_init") for f in fields(cell)} <= structured, cell
        found |= {(kind, f"{name}_init") for name in names}
    for kind in {kind for kind, _ in found}:
        names = {name for name in inspect.signature(kind).parameters if name.endswith("_init")}
        assert names <= {name for of, name in found if of is kind}, kind


@pytest.mark.parametrize(
    ("cell", "calls"),
    [
        (rnn.LSTM(5, 4), {"w_x": [(3, 5)] * 4, "w_h": [(4, 5)] * 4, "w_p": [(5, 4)]}),
        (rnn.LSTM(5), {"b": [(5,)] * 4}),
        (rnn.GRU(5, False), {"w_x": [(3, 5)] * 3, "w_h": [(5, 5)] * 2, "w_n": [(5, 5)]}),
        (rnn.PeepholeLSTM(5), {"p": [(5,)] * 3}),
        (rnn.DiagonalLSTM(5), {"w_h": [(5,)] * 3, "p": [(5,)] * 2}),
        (rnn.LRU(5), {"w_x": [(3, 5)] * 2, "w_y": [(10, 3)]}),
        (rnn.RGLRU(), {"w_x": [(3, 3)] * 2, "b": [(3,)] * 2}),
        (rnn.MinLSTM(5), {"w_x": [(3, 5)] * 3}),
        (rnn.CausalConv(5, 4), {"w": [(4, 3, 5)]}),
    ],
    ids=repr,
)
def test_a_gate_is_drawn_by_itself(cell, calls):
    """Each block with a key of its own, which depends on nothing but the init's key and the name
    of the param."""
    seen = {name: [] for name in calls}

    def record(name):
        def init(key, shape, dtype):
            seen[name].append((shape, dtype, jax.random.key_data(key).tolist()))
            return np.full(shape, len(seen[name]), dtype)

        return init

    given = dataclasses.replace(cell, **{f"{name}_init": record(name) for name in calls})
    params = given.init(KEY, rnn.features(3))
    keys = [tuple(key) for of_one in seen.values() for _, _, key in of_one]
    assert len(set(keys)) == len(keys)
    for name, shapes in calls.items():
        assert [(shape, dtype) for shape, dtype, _ in seen[name]] == [
            (shape, jnp.float32) for shape in shapes
        ]
        blocks = np.split(np.asarray(params[name]), len(shapes), axis=-1)
        for i, block in enumerate(blocks):
            np.testing.assert_array_equal(block, np.full(shapes[i], i + 1))
    alone, first = list(calls)[-1], dict(seen)
    seen[alone] = []
    dataclasses.replace(cell, **{f"{alone}_init": record(alone)}).init(KEY, rnn.features(3))
    assert seen[alone] == first[alone]


def test_orthogonality_and_fans_are_those_of_a_gate():
    init = jax.nn.initializers
    cell = rnn.LSTM(64, w_x_init=init.he_normal(), w_h_init=init.orthogonal(2.0))
    params = cell.init(KEY, rnn.features(50))
    for gate in np.split(np.asarray(params["w_x"]), 4, axis=1):
        assert abs(gate.std() / (2 / 50) ** 0.5 - 1) < 0.05
    for gate in np.split(np.asarray(params["w_h"]), 4, axis=1):
        np.testing.assert_allclose(gate.T @ gate, 4 * np.eye(64), atol=1e-4)
    wide = rnn.LSTM(64, w_x_init=init.variance_scaling(1.0, "fan_out", "normal"))
    w_x = np.asarray(wide.init(KEY, rnn.features(50))["w_x"])
    assert abs(w_x.std() * 64**0.5 - 1) < 0.05
    together = jax.jit(lambda key: cell.init(key, rnn.features(50)))(KEY)
    for name in params:
        np.testing.assert_allclose(together[name], params[name], atol=1e-5)


def test_a_reservoir_is_thinned_and_scaled():
    cell = rnn.EchoState(50, 0.7, density=0.3, w_h_init=jax.nn.initializers.uniform(1.0))
    w_h = np.asarray(cell.init(KEY, 3)["fixed"]["w_h"])
    assert 0.2 < (w_h != 0).mean() < 0.4
    assert w_h.min() == 0
    np.testing.assert_allclose(np.abs(np.linalg.eigvals(w_h)).max(), 0.7, rtol=1e-4)


def test_the_dtype_is_that_of_the_params(x64):
    cell = rnn.GRU(3, w_x_init=jax.nn.initializers.he_normal(), b_init=quarter)
    params = cell.init(KEY, rnn.features(2, dtype=jnp.float64))
    assert {leaf.dtype for leaf in params.values()} == {jnp.dtype("float64")}


# Each sum weighs every number by its place; recorded before initializers could be given.
SUMS = {
    "elman": -1.39741,
    "irnn": -0.23018,
    "lstm": -0.14121,
    "projected": 3.78146,
    "peephole": -2.46936,
    "gru": -2.07245,
    "gru before": 1.92486,
    "normalised lstm": 0.96516,
    "normalised gru": 0.11387,
    "echo state": -0.74651,
    "diagonal gru": 2.33492,
    "diagonal lstm": -0.30061,
    "lru": 1.11256,
    "s5": -9.99859,
    "mingru": 1.94070,
    "minlstm": -3.10817,
    "rg-lru": -0.94618,
    "selective": -7.26258,
    "dense": -1.83483,
    "embed": 1.17403,
    "convolution": -0.26342,
    "depthwise": -1.37013,
    "tied": 0.64986,
    "additive attention": 1.52129,
    "attend": -5.41545,
    "antisymmetric": -0.21932,
    "independent": -0.28733,
    "oscillatory": -1.09488,
}


@pytest.mark.parametrize("name", quick(SUMS))
def test_the_default_draws_are_those_of_old(name):
    cell, x = CASES[name]
    np.testing.assert_allclose(weighed(cell.init(KEY, x)), SUMS[name], 2e-5, 2e-5)


def weighed(params):
    flat = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)]).astype(float)
    return float(flat @ np.cos(np.arange(flat.size)))


def test_cells_with_an_initializer_are_values():
    cell = rnn.Stack((rnn.LSTM(3, w_h_init=ZEROS), rnn.Dense(2, b_init=quarter)))
    contract.static(cell, example(cell, rnn.features(2), KEY))
    assert pickle.loads(pickle.dumps(cell)) == cell
    assert rnn.LSTM(3, w_h_init=ZEROS) != rnn.LSTM(3) != rnn.LSTM(3, w_x_init=ZEROS)
    # A closure equals itself alone, and has no name to be pickled by.
    init = jax.nn.initializers.he_normal()
    once, again = rnn.GRU(3, w_x_init=init), rnn.GRU(3, w_x_init=init)
    assert once == again
    assert hash(once) == hash(again)
    assert once != rnn.GRU(3, w_x_init=jax.nn.initializers.he_normal())
    contract.static(once, example(once, rnn.features(2), KEY))


def test_a_repr_shows_the_initializers_that_are_given():
    assert repr(rnn.LSTM(8)) == "LSTM(hidden=8, projection=None, forget_bias=1.0)"
    assert repr(rnn.RGLRU()) == "RGLRU()"
    assert repr(rnn.Dense(8, w_init=ZEROS)) == (
        f"Dense(width=8, activation='identity', w_init={ZEROS!r})"
    )

    class Own(rnn.Elman):
        rate: float = 0.5

    assert repr(Own(2)).endswith(".Own(hidden=2, activation='tanh', identity=False, rate=0.5)")
    assert Own(2, "relu", True, 0.1).rate == 0.1


def test_initializers_are_given_by_name():
    with pytest.raises(TypeError, match="positional"):
        rnn.LSTM(8, None, 1.0, ZEROS)  # pyright: ignore
    assert rnn.S5(4, 2, 1e-2, 1e-1).blocks == 2
    assert rnn.LRU(4, 0.5, 0.9, 1.0).max_phase == 1.0
