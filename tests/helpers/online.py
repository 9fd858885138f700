"""What the algorithms of `jaxrnn.online` are held to."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn as rnn
from helpers.cases import TOKENS
from jaxrnn import training


class Problem(NamedTuple):
    """A net with its params, and a few steps of inputs and targets under a mask and resets."""

    net: rnn.Layer
    params: Any
    xs: Any
    targets: Any
    mask: Any
    resets: Any

    @property
    def batch(self):
        return self.mask.shape[1:]


def problem(net, x=None, steps=6, batch=(2,), dtype=jnp.float32) -> Problem:
    """Params with a little noise, so that no bias and no learned state is zero."""
    random = np.random.default_rng(3)
    x = rnn.features(2) if x is None else x
    example = jax.tree.map(lambda a: rnn.TOKEN if x is TOKENS else a, x)
    mask, resets = random.random((steps, *batch)) < 0.8, random.random((steps, *batch)) < 0.2

    def noise(shape):
        return random.normal(size=shape).astype(dtype)

    def drawn(a):
        shape = (steps, *batch, *a.shape)
        if not jnp.issubdtype(a.dtype, jnp.floating):
            return random.integers(0, 2 if a.dtype == bool else 5, shape).astype(a.dtype)
        flags = mask.reshape(*mask.shape, *(1,) * len(a.shape))
        return np.where(flags, noise(shape), dtype(jnp.nan))  # what no mask lets be seen

    params = net.init(jax.random.key(0), example)
    params = jax.tree.map(lambda p: p.astype(dtype) + dtype(0.3) * noise(p.shape), params)
    xs = jax.tree.map(drawn, example)
    ys = jax.eval_shape(lambda p: rnn.unroll(net, p, xs)[1], params)
    targets = drawn(jax.ShapeDtypeStruct(ys.shape[1 + len(batch) :], dtype))
    return Problem(net, *jax.tree.map(jnp.asarray, (params, xs, targets, mask, resets)))


def loss(ys, targets, mask=None):
    return training.mse(jnp.sin(ys), targets, mask)


@jax.jit
def backwards(problem: Problem):
    """The loss of all steps and its gradient, by `jax.grad` of `unroll`."""

    def total(params):
        _, ys = rnn.unroll(
            problem.net, params, problem.xs, mask=problem.mask, resets=problem.resets
        )
        return loss(ys, problem.targets, problem.mask).total

    return jax.value_and_grad(total)(problem.params)


def forwards(algorithm, problem: Problem, key=None, learner=None):
    """The same, summed over steps; the last learner too."""
    learner = algorithm.init(
        problem.params, problem.batch, key, x=jax.tree.map(lambda a: a[0], problem.xs)
    ) if learner is None else learner  # fmt: skip
    return _forwards(algorithm, problem, learner)


@jax.jit
def _forwards(algorithm, problem, learner):
    def body(carry, now):
        learner, total, sums = carry
        x, target, mask, reset = now
        learner, (value, grads) = algorithm.step(
            problem.params, learner, x, target, mask=mask, reset=reset
        )
        return (learner, total + value.total, jax.tree.map(jnp.add, sums, grads)), None

    zeros = jax.tree.map(jnp.zeros_like, problem.params)
    dtype = jnp.result_type(*jax.tree.leaves(problem.params))
    now = problem.xs, problem.targets, problem.mask, problem.resets
    (learner, total, sums), _ = jax.lax.scan(body, (learner, jnp.zeros((), dtype), zeros), now)
    return total, sums, learner


def apart(got, want) -> float:
    """The largest difference, beside the largest number of each leaf, or 1 where that is less."""
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True)
    found = [jnp.max(jnp.abs(a - b)) / jnp.maximum(jnp.max(jnp.abs(b)), 1) for a, b in pairs]
    return float(np.max(found))  # NaN where any is
