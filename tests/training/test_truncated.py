"""Truncated backpropagation: which gradients are cut where, by a loop over `advance`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn as rnn
from jaxrnn import training
from jaxrnn.training import Batch, cross_entropy, truncated

NET = rnn.Stack((rnn.Embed(5, 3), rnn.Dropout(0.3), rnn.GRU(4), rnn.Dense(5)))
PARAMS = NET.init(jax.random.key(0), rnn.TOKEN)
T = 11
TOKENS = jax.random.randint(jax.random.key(1), (T + 1, 2), 0, 5)
MASK = jnp.ones((T, 2), bool).at[6, 1].set(False)
BATCH = Batch(TOKENS[:-1], TOKENS[1:], MASK, jnp.zeros((T, 2), bool).at[7, 0].set(True))
KEY = jax.random.key(2)
CARRY = jax.tree.map(lambda a: a + 0.3, NET.initial_state(PARAMS, (2,)))


def c(t, k1, k2):
    """Where the gradient of the loss at step t ends."""
    return 0 if t < k2 else ((t - k2) // k1 + 1) * k1


def by_hand(params, begins):
    """Each step's loss by a run of its own, from the last state that is a constant for it."""
    flags = jnp.arange(T), BATCH.xs, BATCH.mask, BATCH.resets

    def run(begin):
        def step(state, row):
            t, x, mask, reset = row
            cut = jax.lax.stop_gradient(state)
            state = jax.tree.map(lambda a, b: jnp.where(t == begin, a, b), cut, state)
            return rnn.advance(NET, params, state, x, mask=mask, reset=reset, key=KEY, t=t)

        return jax.lax.scan(step, CARRY, flags)[1]

    def total(t, begin):
        return cross_entropy(run(begin)[t][None], BATCH.targets[t][None], MASK[t][None]).total

    return jax.vmap(total)(*begins).sum()


@pytest.mark.parametrize(
    ("k1", "k2", "burn_in", "strategy"),
    [
        (2, 5, 0, rnn.Scan()),
        pytest.param(3, 4, 2, rnn.Chunked(2), marks=pytest.mark.slow),
        pytest.param(1, 1, 1, rnn.Scan(), marks=pytest.mark.slow),
        pytest.param(5, 6, 3, rnn.Scan(), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_gradient_ends_where_it_is_said_to(k1, k2, burn_in, strategy):
    def cut(params):
        given = {"k1": k1, "k2": k2, "burn_in": burn_in, "key": KEY, "strategy": strategy}
        state, loss = truncated(NET, cross_entropy, params, BATCH, CARRY, **given)
        return loss.total, (state, loss.steps)

    ts = jnp.arange(burn_in, T)
    begins = jnp.array([burn_in + c(t - burn_in, k1, k2) for t in range(burn_in, T)])
    want = jax.jit(jax.value_and_grad(by_hand))(PARAMS, (ts, begins))
    (total, (state, steps)), gradient = jax.jit(jax.value_and_grad(cut, has_aux=True))(PARAMS)
    close((total, gradient), want)
    assert int(steps) == int(MASK[burn_in:].sum())
    controls = {"mask": MASK, "resets": BATCH.resets, "key": KEY}
    close(state, rnn.unroll(NET, PARAMS, BATCH.xs, state=CARRY, **controls)[0])


def close(a, b):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6), a, b)


TX = optax.sgd(0.1)
BEGUN = training.TrainState.create(NET, PARAMS, TX, KEY, (2,))._replace(carry=CARRY)


def after(batch=BATCH, state=BEGUN, step=training.truncated_bptt_step, **cuts):
    """Params, carry and loss after one step, and how many steps counted."""
    state, metrics = step(NET, cross_entropy, TX, **cuts)(state, batch)
    return (state.params, state.carry, metrics.loss), int(metrics.tokens)


def test_with_k2_of_all_steps_it_is_bptt():
    whole, tokens = after()
    assert tokens == int(MASK.sum())
    close(after(k1=3, k2=T + 5), (whole, tokens))


@pytest.mark.slow
def test_steps_cut_and_burn_in():
    whole, _ = after()
    cut, _ = after(k2=4)
    close(cut[1:], whole[1:])
    assert not np.allclose(cut[0][2]["w_h"], whole[0][2]["w_h"], atol=1e-4)
    warm, tokens = after(burn_in=5)
    assert tokens == int(MASK[5:].sum())
    # What is burnt in is seen by the state alone, and not as a target.
    other = BATCH._replace(targets=BATCH.targets.at[:5].set(0))
    fresh, _ = after(other, BEGUN._replace(carry=None), training.bptt_step, burn_in=5)
    zero = BEGUN._replace(carry=NET.initial_state(PARAMS, (2,)))
    close(fresh[::2], after(BATCH, zero, burn_in=5)[0][::2])
    assert not np.allclose(warm[2], fresh[2])
