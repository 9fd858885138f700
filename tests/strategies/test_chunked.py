"""Time in levels of chunks: the sizes chosen, and what a gradient takes."""

import functools
from itertools import pairwise

import chex
import jax
import jax.numpy as jnp
import pytest
from jax import export

import jaxrnn as rnn
from benchmarks.levels import NET, folded, passes, temporaries
from helpers.tables import first


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [None, 1000])
def test_sizes_are_multiples_of_one_another_near_the_best(size, levels):
    for steps in (10**5, 10**6, 10**7, 2**20, 1_000_003, 123_457):
        sizes = rnn.Chunked(size, levels=levels).sizes(steps)
        assert len(sizes) == levels
        assert size is None or sizes[-1] == size
        assert all(a % b == 0 for a, b in pairwise(sizes))
        best = (steps // sizes[-1]) ** (1 / levels)
        factors = [a / b for a, b in pairwise((steps, *sizes))]
        assert all(best / 4 < n < best * 4 for n in factors)
        if size is None and steps == 10**7:
            assert all(steps % n == 0 for n in sizes), "one program for all chunks"


def test_short_sequences_have_fewer_levels():
    assert rnn.Chunked(levels=3).sizes(1) == (1,)
    assert rnn.Chunked(50, levels=3).sizes(20) == (50,)


def compiled(strategy, steps):
    params = jax.eval_shape(lambda key: NET.init(key, 2), jax.random.key(0))
    xs = jax.ShapeDtypeStruct((steps, 1, 2), jnp.float32)
    return jax.jit(folded(strategy)).lower(params, xs).compile()


MEGABYTES = {2: 1, 1: 10, 4: 1}


@pytest.mark.parametrize("levels", first(1, MEGABYTES))
def test_ten_million_steps_in_a_megabyte_by_one_forward_pass_more_a_level(levels):
    program = compiled(rnn.Chunked(levels=levels), 10_000_000)
    assert passes(program, 10_000_000) == 1 + levels
    assert temporaries(program) <= MEGABYTES[levels] * 1e6


@pytest.mark.slow
def test_a_plain_gradient_evaluates_a_step_once_and_keeps_it():
    """The check above sees what it looks for."""
    program = compiled(rnn.Scan(), 10_000)
    assert passes(program, 10_000) == 1
    assert temporaries(program) > 2e7


# By 6 and by 2, 23 is 3 x 6 + 2 x 2 + 1: something is left over at every level.
STEPS, FEATURES = 23, 2


@pytest.mark.slow
@pytest.mark.parametrize("way", ["fold", "unroll"])
def test_a_prime_number_of_steps(way):
    """Values and gradients in everything, with masks, resets and noise, in reverse."""
    net = rnn.Stack((rnn.Dropout(0.3), rnn.Elman(2)))
    params = net.init(jax.random.key(0), FEATURES)
    xs = jax.random.normal(jax.random.key(1), (STEPS, 2, FEATURES))
    options = {
        "key": jax.random.key(2),
        "mask": jnp.arange(STEPS)[:, None] % 7 != jnp.arange(2),
        "resets": jnp.arange(STEPS)[:, None] % 10 == jnp.arange(2),
        "reverse": True,
    }

    def add(total, params, ys, targets, mask):
        return total + jnp.sum((ys - targets) ** 2)

    def gradients(strategy):
        def loss(params, xs, state, targets):
            given = {"state": state, "strategy": strategy} | options
            if way == "fold":
                return rnn.fold(net, params, xs, add, 0.0, extra=targets, **given)[1]
            return add(0.0, params, rnn.unroll(net, params, xs, **given)[1], targets, None)

        state = jax.tree.map(lambda s: s + 0.5, net.initial_state(params, (2,)))
        return jax.jit(jax.value_and_grad(loss, (0, 1, 2, 3)))(params, xs, state, xs + 1)

    chex.assert_trees_all_close(
        gradients(rnn.Chunked(2, levels=2)), gradients(rnn.Scan()), rtol=1e-4, atol=1e-5
    )


def test_a_second_derivative_is_that_of_a_scan_either_way():
    cell = rnn.Elman(2)
    params, xs = cell.init(jax.random.key(0), 2), jax.random.normal(jax.random.key(1), (5, 2))
    along = jax.tree.map(jnp.ones_like, (params, xs))

    @functools.partial(jax.jit, static_argnums=0)
    def products(strategy, both):
        def loss(both):
            return jnp.sin(rnn.unroll(cell, *both, strategy=strategy)[1]).sum()

        def slope(both):
            return sum(map(jnp.vdot, *map(jax.tree.leaves, (jax.grad(loss)(both), along))))

        return jax.jvp(jax.grad(loss), (both,), (along,))[1], jax.grad(slope)(both)

    want, _ = products(rnn.Scan(), (params, xs))
    for got in products(rnn.Chunked(2), (params, xs)):
        chex.assert_trees_all_close(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_gradient_of_inputs_is_not_held_once_a_level():
    """Added up within one large chunk after another."""
    steps, features = 20_000, 32
    params = jax.eval_shape(lambda key: NET.init(key, features), jax.random.key(0))
    xs = jax.ShapeDtypeStruct((steps, 1, features), jnp.float32)

    def loss(params, xs):
        return jnp.sum(rnn.unroll(NET, params, xs, strategy=rnn.Chunked(levels=2))[1] ** 2)

    program = jax.jit(jax.grad(loss, (0, 1))).lower(params, xs).compile()
    assert temporaries(program) < steps * features * 4 / 2


def test_a_symbolic_number_of_steps_is_cut_once_or_not_at_all():
    cell = rnn.GRU(3)
    params = cell.init(jax.random.key(0), FEATURES)
    xs = jax.random.normal(jax.random.key(1), (16, FEATURES))
    [t] = export.symbolic_shape("4*k")
    want = rnn.unroll(cell, params, xs)
    for strategy in (rnn.Chunked(4, levels=2), rnn.Chunked(levels=2)):
        run = jax.jit(lambda params, xs, s=strategy: rnn.unroll(cell, params, xs, strategy=s))
        made = export.export(run)(params, jax.ShapeDtypeStruct((t, FEATURES), jnp.float32))
        chex.assert_trees_all_close(made.call(params, xs), want, rtol=1e-5)
