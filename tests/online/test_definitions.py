"""SnAp-1 and e-prop are what they are defined as; random estimates are right in the mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy import stats

import jaxrnn as rnn
from helpers.online import Problem, apart, backwards, forwards, loss, problem
from jaxrnn import online, training
from jaxrnn.autodiff.dot import Dot


class Leaky(rnn.Cell):
    """Linear units that forget, `h' = h / 2 + x @ w_x + h @ w_h`."""

    def init(self, key, x):
        return {"w_x": jnp.ones((1, 2)), "w_h": jnp.array([[0.5, 0.0], [1.0, 0.5]])}

    def initial_state(self, params, batch_shape=()):
        return jnp.zeros((*batch_shape, 2))

    def project(self, params, xs, noise=None):
        return rnn.matmul(xs, params["w_x"])

    def step(self, params, state, z, dot):
        return 0.5 * state + z + dot(state, "w_h")

    def readout(self, params, state, z):
        return state


def first_unit(ys, targets, mask=None):
    return training.MaskedMean.over(ys[..., 0], mask)


def test_e_prop_by_hand():
    # x = 1 at each of three steps. h1 = (1, 1). h2 = h1 / 2 + 1 + h1 @ w_h = (3, 2), where
    # h1 @ w_h = (1/2 + 1, 1/2). The loss is the first unit at every step, so the signal is (1, 0).
    # Of w_x[0] the trace is e' = e / 2 + 1: 1, 3/2, 7/4, in sum 17/4. Of w_h[i, 0] it is
    # e' = e / 2 + h[i]: for i = 0: 0, 1, 1/2 + 3 = 7/2, in sum 9/2; for i = 1: 0, 1, 1/2 + 2 = 5/2,
    # in sum 7/2. Nothing of the second unit's: its signal is zero.
    cell = Leaky()
    params = cell.init(jax.random.key(0), 1)
    steps = jnp.ones((3, 1))
    flags = jnp.ones(3, bool)
    made = Problem(cell, params, steps, steps, flags, ~flags)
    _, grads, _ = forwards(online.EProp(cell, first_unit), made)
    np.testing.assert_allclose(grads["w_x"], [[17 / 4, 0]])
    np.testing.assert_allclose(grads["w_h"], [[9 / 2, 0], [7 / 2, 0]])
    # SnAp-1 keeps w_h[u, u] = 1/2 too: e' = e + 1 is 1, 2, 3, in sum 6.
    _, grads, _ = forwards(online.SnAp1(cell, first_unit), made)
    np.testing.assert_allclose(grads["w_x"], [[6, 0]])


@pytest.mark.parametrize("algorithm", [online.SnAp1, online.EProp])
def test_an_lstm_by_definition(algorithm):
    cell = rnn.LSTM(2)
    made = problem(cell, batch=())
    flat, params_of = ravel_pytree(made.params)
    start, state_of = ravel_pytree(cell.initial_state(made.params))

    def step(flat, state, x):
        params = params_of(flat)
        z = cell.project(params, x[None])[0]
        return ravel_pytree(cell.step(params, state_of(state), z, Dot(params)))[0]

    def held(state, x):
        """The derivative of h and c by c alone: c' = f c + ..., h' = o tanh(c')."""
        z = cell.project(made.params, x[None])[0]
        _, f, _, o = cell.gates(made.params, state_of(state), z, Dot(made.params))
        c = step(flat, state, x)[2:]
        none, f = jnp.zeros((2, 2)), jnp.diag(f)
        return jnp.block([[none, jnp.diag(o * (1 - jnp.tanh(c) ** 2)) @ f], [none, f]])

    def value(state, target):
        return loss(state[None, :2], target[None]).total

    # A number of the params belongs to the unit that is its column, modulo 2.
    columns = jax.tree.map(
        lambda p: jnp.arange(p.shape[-1], dtype=p.dtype) % 2 + jnp.zeros_like(p), made.params
    )
    pattern = (jnp.array([[0.0], [1.0], [0.0], [1.0]]) == ravel_pytree(columns)[0]).astype(float)

    @jax.jit
    def one(state, influence, x, target):
        if algorithm is online.SnAp1:
            through = jax.jacobian(step, 1)(flat, state, x)
        else:
            through = held(state, x)
        influence = pattern * (through @ influence + jax.jacobian(step)(flat, state, x))
        state = step(flat, state, x)
        return state, influence, jax.grad(value)(state, target) @ influence

    state, influence, total = start, jnp.zeros((4, flat.size)), jnp.zeros(flat.size)
    xs, targets = jax.tree.map(jnp.nan_to_num, (made.xs, made.targets))
    for x, target in zip(xs, targets, strict=True):
        state, influence, grads = one(state, influence, x, target)
        total = total + grads
    always = jnp.ones_like(made.mask)
    free = made._replace(xs=xs, targets=targets, mask=always, resets=~always)
    assert apart(forwards(algorithm(cell, loss), free)[1], params_of(total)) < 1e-5


SEEDS, ALARM = 4000, 1e-3


def refused(draws, want):
    """Whether the mean of `[N, ...]` draws is not `want`: some entry lies outside its interval.

    By the central limit theorem the mean of an entry is normal with the standard error of the N
    draws. Each of P entries is given the alarm rate ALARM / P, so that a right estimate is refused
    with a probability of at most ALARM = 0.001 for a fresh set of seeds. (The seeds here are fixed:
    the test does the same every time.)
    """
    draws = np.stack([ravel_pytree(d)[0] for d in draws]) if isinstance(draws, list) else draws
    want = np.asarray(ravel_pytree(want)[0])
    error = draws.std(0, ddof=1) / np.sqrt(len(draws)) + 1e-6  # and rounding
    width = stats.norm.isf(ALARM / (2 * want.size))
    return bool((np.abs(draws.mean(0) - want) > width * error).any())


@pytest.mark.parametrize("algorithm", [online.UORO, online.ForwardGradient])
def test_it_is_right_in_the_mean(algorithm):
    net = rnn.LearnedState(rnn.Elman(2))
    made = problem(net, steps=5)

    def drawn(key):
        return ravel_pytree(forwards(algorithm(net, loss), made, key)[1])[0]

    draws = np.asarray(jax.jit(jax.vmap(drawn))(jax.random.split(jax.random.key(5), SEEDS)))
    assert not refused(draws, backwards(made)[1])
    # The interval is narrow enough to tell: a gradient that looks back at nothing is refused.
    assert refused(draws, forwards(online.TBPTT(net, loss, 1), made)[1])


def test_a_direction_is_drawn_again():
    net = rnn.Elman(2)
    made = problem(net, steps=5)
    algorithm = online.ForwardGradient(net, loss, 2)
    first = algorithm.init(made.params, (2,), jax.random.key(0))
    again = forwards(algorithm, made, learner=first)[2]
    assert apart(again.direction, first.direction) == 2  # some sign is the other
    assert int(again.steps) == 1
