"""A loop is the scan that it stands for, however a platform runs it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxrnn as rnn
from helpers.cells import Terms
from helpers.tables import first
from jaxrnn.autodiff._jax import dce, trace
from jaxrnn.autodiff.in_blocks import in_blocks
from jaxrnn.autodiff.kernels.rows import plain
from jaxrnn.autodiff.loop import DEFAULT, loop, loop_p
from jaxrnn.autodiff.members import as_one

KEY = jax.random.key(0)


def answers(cell, steps, reverse, masked, strategy):
    """Outputs, last state and gradients."""
    params, xs = cell.init(KEY, 3), jax.random.normal(KEY, (steps, 2, 3))
    flags = {}
    if masked:
        mask, resets = jax.random.bernoulli(KEY, 0.6, (2, steps, 2))
        flags = {"mask": mask, "resets": resets}

    def loss(params, xs):
        out = rnn.unroll(cell, params, xs, reverse=reverse, strategy=strategy, **flags)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(out)), out

    return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, xs)


@pytest.mark.parametrize(
    ("cell", "steps", "reverse", "masked", "strategy"),
    first(
        2,
        [
            (rnn.LSTM(4), 19, False, False, rnn.Scan()),
            (rnn.GRU(4), 8, True, True, rnn.Scan()),
            (rnn.PeepholeLSTM(4), 20, True, True, rnn.Scan()),
            (rnn.DiagonalLSTM(4), 17, False, True, rnn.Scan()),
            (rnn.LayerNormGRU(4), 5, False, False, rnn.Scan()),
            (Terms(3), 11, True, False, rnn.Scan(unroll=5)),
            (rnn.LSTM(4), 3, False, True, rnn.Scan()),
            (rnn.Elman(4), 1, False, False, rnn.Scan()),
            (rnn.GRU(4), 21, False, True, rnn.Chunked(10)),
        ],
    ),
)
def test_blocks_of_steps_are_the_scan(running, monkeypatch, cell, steps, reverse, masked, strategy):
    monkeypatch.setattr("jaxrnn.autodiff.in_blocks.TOGETHER", 4)  # it is quicker to compile
    case = functools.partial(answers, cell, steps, reverse, masked, strategy)
    running(DEFAULT)
    want = case()
    running(as_one(plain(in_blocks)))
    got = case()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), got, want)


def test_a_gpu_gets_blocks_and_a_tpu_the_scan():
    """What a platform is given is decided when a program is lowered for it, not while tracing."""
    cell = rnn.LSTM(4)
    params, xs = cell.init(KEY, 3), jnp.zeros((32, 2, 3))
    traced = jax.jit(lambda params, xs: rnn.unroll(cell, params, xs)[1]).trace(params, xs)
    text = {p: traced.lower(lowering_platforms=(p,)).as_text() for p in ("cuda", "tpu")}
    products = {p: t.count("dot_general") for p, t in text.items()}
    assert products["cuda"] == products["tpu"] + 15  # of sixteen steps in place of one


def test_what_lives_on_lies_under_a_product():
    """The gradient of an LSTM's c [4, 8] is one more row of that of its sums, [4, 32]."""
    cell = rnn.LSTM(8)
    params, xs = cell.init(KEY, 3), jnp.zeros((32, 4, 3))
    slope = jax.jit(jax.grad(lambda params: rnn.unroll(cell, params, xs)[1].sum())).trace(params)
    text = {p: slope.lower(lowering_platforms=(p,)).as_text() for p in ("cuda", "tpu")}
    product = "(tensor<5x32xf32>, tensor<32x8xf32>) -> tensor<5x8xf32>"
    assert product in text["cuda"]
    assert product not in text["tpu"]


def equations(closed):
    """All of a jaxpr's equations, those of functions that it calls among them."""
    for eqn in closed.eqns:
        yield eqn
        if eqn.primitive is not loop_p and "jaxpr" in eqn.params:
            yield from equations(eqn.params["jaxpr"])


@pytest.mark.parametrize("cell", [rnn.DiagonalGRU(4), rnn.PeepholeLSTM(4)])
def test_no_loop_adds_up_a_gradient(cell):
    """All that a loop carries is a state, or its tangent, where it reads little of params."""
    params, xs = cell.init(KEY, 3), jnp.zeros((5, 2, 3))
    jaxpr = jax.make_jaxpr(jax.grad(lambda params: rnn.unroll(cell, params, xs)[1].sum()))(params)
    carried = [eqn.params["num_carry"] for eqn in equations(jaxpr) if eqn.primitive is loop_p]
    assert carried == [len(jax.tree.leaves(cell.initial_state(params)))] * 2


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
def test_a_mesh_of_one_device_may_be_explicit(platform):
    cell, mesh = rnn.LSTM(4), jax.make_mesh((1,), ("batch",), (AxisType.Explicit,))
    with jax.set_mesh(mesh):
        params = jax.device_put(cell.init(KEY, 3), NamedSharding(mesh, P()))
        xs = jax.device_put(jnp.zeros((9, 2, 3)), NamedSharding(mesh, P(None, "batch")))
        slope = jax.jit(jax.grad(lambda params, xs: rnn.unroll(cell, params, xs)[1].sum()))
        assert slope.trace(params, xs).lower(lowering_platforms=(platform,)).as_text()


def test_ys_that_nothing_reads_are_not_computed():
    """On a TPU a kernel would write them all the same."""

    def body(consts, carry, row):
        (w, v), (c,), (x, y) = consts, carry, row
        return [c + w * x], [c, v * y]

    def first_of(w, v, c, xs):
        (last,), (before, _) = loop(body, [w, v], [c], xs, 5, free=[0, 1])
        return last, before

    two, three = jnp.full(3, 2.0), jnp.full(3, 3.0)
    args = (two, three, jnp.zeros(3), [jnp.ones((5, 3)), jnp.ones((5, 3))])
    closed, used = dce(trace(first_of, *args))
    *_, eqn = closed.eqns
    assert (len(eqn.invars), len(eqn.outvars), eqn.params["free"]) == (3, 2, (0,))
    assert used == [True, False, True, True, False]
    got = jax.core.eval_jaxpr(closed.jaxpr, closed.consts, two, args[2], args[3][0])
    np.testing.assert_allclose(got[1], 2 * jnp.arange(5.0)[:, None] * jnp.ones(3))
