"""A recurrent module of another library beside the layer that it was converted to."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn as rnn


def fill(tree, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda a: jnp.asarray((0.5 * rng.normal(size=a.shape)).astype("float32")), tree
    )


def stepped(apply):
    """`run` for `compare`, of one step `apply(variables, carry, x) -> (carry, y)`."""
    return lambda variables, carry, xs: jax.lax.scan(
        lambda carry, x: apply(variables, carry, x), carry, xs
    )


def compare(cell, params, variables, run, ours_of, carry, xs, skip=(), mask=None):
    """`run(variables, carry, xs) -> (carry, ys)` against a cell: outputs, last states and the
    gradients in weights, states and inputs. `ours_of` maps gradients in variables to our params,
    `carry` our states to theirs."""
    state = fill(cell.initial_state(params, xs.shape[1:2]), 1)
    weights = fill(jax.eval_shape(lambda: rnn.unroll(cell, params, xs)[1]), 3)
    last_weights = carry(fill(state, 4))

    def score(last, ys):
        terms = jax.tree.map(lambda w, a: (w * a).sum(), (last_weights, weights), (last, ys))
        return sum(jax.tree.leaves(terms)), (last, ys)

    def theirs(variables, state, xs):
        return score(*run(variables, carry(state), xs))

    def ours(params, state, xs):
        last, ys = rnn.unroll(cell, params, xs, state=state, mask=mask)
        return score(carry(last), ys)

    (_, want), want_grads = jax.jit(jax.value_and_grad(theirs, (0, 1, 2), has_aux=True))(
        variables, state, xs
    )
    (_, got), grads = jax.jit(jax.value_and_grad(ours, (0, 1, 2), has_aux=True))(params, state, xs)
    want_grads = (ours_of(want_grads[0]), *want_grads[1:])
    for key in skip:
        assert grads[0].pop(key).any()
        want_grads[0].pop(key)
    assert jax.tree.structure((got, grads)) == jax.tree.structure((want, want_grads))
    for a, b in zip(
        jax.tree.leaves((got, grads)), jax.tree.leaves((want, want_grads)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
