"""The linear recurrence: its values and derivatives for every kind of transition, what it stores,
and what associative refuses."""

import hypothesis
import hypothesis.strategies as given
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.tables import first
from jaxrnn.autodiff import linear_scan as engine
from jaxrnn.autodiff.linear_scan import linear_scan
from jaxrnn.autodiff.transitions import Complex, Matrix, evolve, has_time_axis, map_transitions
from jaxrnn.controls import choose
from jaxrnn.testing.inputs import options as quickly

T, B, N = 11, 2, 3
DRAW = np.random.default_rng(0)


def draw(*shape):
    return jnp.asarray(DRAW.standard_normal(shape))


with jax.enable_x64(True):
    TRANSITIONS = {
        "diagonal": draw(T, B, N),
        "diagonal that stays": draw(N),
        "complex": Complex(draw(T, B, N), draw(T, B, N)),
        "complex that stays": Complex(draw(N), draw(N)),
        "matrix": Matrix(draw(T, B, N, N)),
        "matrix that stays": Matrix(draw(N, N)),
        "of two parts": (draw(T, B, N), Complex(draw(N), draw(N))),
    }
    MASK = jnp.asarray(DRAW.random((T, B)) < 0.7)
    RESETS = jnp.asarray(DRAW.random((T, B)) < 0.2) & MASK
    DRIVE, START = draw(T, B, N), draw(B, N)


def loop(a, b, start, mask, resets, reverse):
    """The definition."""
    h, states = start, [None] * T
    for t in reversed(range(T)) if reverse else range(T):

        def now(tree, t=t):
            return jax.tree.map(lambda x: x[t], tree)

        before = h if resets is None else choose(resets[t], jax.tree.map(jnp.zeros_like, h), h)
        after = evolve(
            map_transitions(lambda a, b: now(a) if has_time_axis(a, b) else a, a, b), before, now(b)
        )
        h = states[t] = after if mask is None else choose(mask[t], after, h)
    return h, jax.tree.map(lambda *x: jnp.stack(x), *states)


@pytest.mark.parametrize("kind", first(2, TRANSITIONS))
def test_values_and_derivatives_are_those_of_the_loop(kind):
    with jax.enable_x64(True):
        a = TRANSITIONS[kind]
        b = map_transitions(
            lambda a: Complex(DRIVE, DRIVE[::-1]) if isinstance(a, Complex) else DRIVE, a
        )
        start = map_transitions(
            lambda a: Complex(START, -START) if isinstance(a, Complex) else START, a
        )

        def seen(f, flags, **options):
            def loss(*args):
                return sum(
                    jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(f(*args, *flags, **options))
                )

            args = (a, b, start)
            grads = jax.grad(loss, (0, 1, 2))
            return jax.jit(
                lambda: (f(*args, *flags, **options), grads(*args), jax.jvp(grads, args, args)[1]),
                compiler_options=quickly(),
            )()

        def ours(a, b, start, mask, resets, **options):
            return linear_scan(a, b, start, mask=mask, resets=resets, **options)

        for reverse, flags in (
            (False, (None, None)),
            (True, (MASK, RESETS)),
            (False, (MASK, RESETS)),
        )[: 3 if kind == "diagonal" else 2]:
            want = seen(loop, flags, reverse=reverse)
            for radix in (0, 2):
                got = seen(ours, flags, reverse=reverse, radix=radix)
                for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
                    np.testing.assert_allclose(
                        x, y, rtol=1e-8, atol=1e-8 * float(jnp.abs(y).max() + 1)
                    )


FLAGS = given.lists(given.tuples(given.booleans(), given.booleans()), min_size=7, max_size=7)


def flagged(radix, reverse):
    """The value and the gradients of one row of 7 steps, jitted once for all flags."""

    def loss(a, b, start, mask, resets):
        last, states = linear_scan(
            a, b, start, mask=mask, resets=resets, reverse=reverse, radix=radix
        )
        return jnp.sum(jnp.sin(last)) + jnp.sum(jnp.sin(states)), states

    return jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))


FLAGGED = {
    (radix, reverse): flagged(radix, reverse) for radix in (0, 2, 3) for reverse in (False, True)
}


@pytest.mark.slow
@hypothesis.given(flags=FLAGS)
@hypothesis.example(
    flags=[(True, False), (False, True), (True, False), (True, False)] + 3 * [(True, False)]
)
def test_a_reset_under_a_false_mask_is_ignored(flags):
    """Whatever the radix: the same values and gradients, and those of a run without that reset."""
    mask, resets = jnp.array(flags).T
    a, b = jax.random.uniform(jax.random.key(0), (2, 7, 1), minval=0.5)
    for reverse in (False, True):
        want = FLAGGED[0, reverse](a, b, jnp.ones(1), mask, resets & mask)
        for radix in (0, 2, 3):
            got = FLAGGED[radix, reverse](a, b, jnp.ones(1), mask, resets)
            for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_loops_that_go_back_block_by_block_are_those_of_the_loop(reverse):
    """Past the caches, as `nested_steps` has it; in every other test here arrays are too small."""
    long, wide = 2048, 1024
    (a, b), start = jax.random.uniform(jax.random.key(0), (2, long, wide)), jnp.ones(wide)
    resets = jnp.arange(long) % 700 == 5
    assert engine.nested_steps(b) == 128
    assert not engine.nested_steps(b[:, :64])
    assert engine.nested_steps(b[: 2048 - 6]) == 0  # no length between 32 and 128 divides it

    def step(h, now):
        h = now[0] * jnp.where(now[2], 0, h) + now[1]
        return h, h

    def seen(f):
        made, push = jax.vjp(lambda *args: f(*args), a, b, start)
        return made, push((start, b))

    got = jax.jit(lambda: seen(lambda *args: linear_scan(*args, resets=resets, reverse=reverse)))()
    want = jax.jit(
        lambda: seen(lambda a, b, start: jax.lax.scan(step, start, (a, b, resets), reverse=reverse))
    )()
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("radix", [0, 2])
def test_what_a_reset_forgets_may_be_nan(radix):
    resets = jnp.arange(T) == 5
    _, states = linear_scan(
        jnp.full((1,), 0.5), jnp.ones((T, 1)), jnp.full(1, jnp.nan), resets=resets, radix=radix
    )
    assert jnp.isnan(states[:5]).all()
    assert jnp.isfinite(states[5:]).all()
    resets = jnp.arange(T) % 2 == 1
    _, states = linear_scan(
        jnp.full((1,), 1e25), jnp.ones((T, 1)), jnp.ones(1), resets=resets, radix=4 if radix else 0
    )
    assert jnp.isfinite(states).all()  # though products over a piece are not


LINEAR_CELLS = [
    rnn.LRU(4, r_min=0.9, r_max=0.99),
    rnn.S5(4),
    rnn.MinGRU(4),
    rnn.MinLSTM(4),
    rnn.RGLRU(),
    rnn.S6(2),
]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", LINEAR_CELLS, ids=repr)
def test_every_strategy_agrees_to_the_last_digits(cell, dtype):
    """Values and gradients over a longer stretch than the laws', from a state that is not zero,
    under a mask and resets."""
    with jax.enable_x64(dtype == "float64"):
        xs = jnp.asarray(np.random.default_rng(1).standard_normal((50, 2, 3)), dtype)
        params = cell.init(jax.random.key(0), xs)
        state = jax.tree.map(lambda s: s + 0.5, cell.initial_state(params, (2,)))
        times = jnp.arange(50)[:, None]
        mask, resets = (
            (times % 7 != 3) & (times < jnp.array([50, 41])),
            (times % 20 == 11) & jnp.ones(2, bool),
        )

        def results(strategy):
            def loss(params, state, xs):
                made = rnn.unroll(
                    cell, params, xs, state=state, mask=mask, resets=resets, strategy=strategy
                )
                return sum(jnp.mean(jnp.sin(a)) for a in jax.tree.leaves(made)), made

            return jax.jit(
                jax.value_and_grad(loss, (0, 1, 2), has_aux=True), compiler_options=quickly()
            )(params, state, xs)

        want = results(rnn.Scan())
        for strategy in (
            rnn.Associative(),
            rnn.Associative(radix=4),
            rnn.Chunked(12, inner=rnn.Associative(radix=3)),
        ):
            for x, y in zip(jax.tree.leaves(results(strategy)), jax.tree.leaves(want), strict=True):
                tolerance = 1e-5 if dtype == "float32" else 1e-10
                np.testing.assert_allclose(
                    x, y, rtol=tolerance, atol=tolerance * max(1, float(jnp.abs(y).max()))
                )


def associative(a, b, start):
    def both(left, right):
        return left[0] * right[0], right[0] * left[1] + right[1]

    return jax.lax.associative_scan(both, (a, b.at[0].add(a[0] * start)))[1]


@pytest.mark.parametrize("radix", first(1, [16, 0]))
def test_the_gradient_stores_a_third_of_what_that_of_a_tree_does(radix):
    a, b, start = jnp.full((4096, 64), 0.9), jnp.ones((4096, 64)), jnp.ones(64)

    def temporaries(f):
        grad = jax.jit(jax.grad(lambda a, b, start: jnp.sum(jnp.square(f(a, b, start))), (0, 1, 2)))
        return grad.lower(a, b, start).compile().memory_analysis().temp_size_in_bytes

    ours, theirs = (
        temporaries(lambda a, b, start: linear_scan(a, b, start, radix=radix)[1]),
        temporaries(associative),
    )
    states = 4 * 4096 * 64
    assert ours < (theirs / 3 if radix == 0 else theirs), (ours / states, theirs / states)


def test_large_matrices_are_run_in_one_loop_on_a_tpu_and_not_elsewhere():
    """There a product of two of them is N times the work of a step, which fills the card anyway."""

    def loops(size, platform, radix=None):
        a, b = jnp.ones((20, 4, size, size)), jnp.ones((20, 4, size))
        f = jax.jit(lambda a, b: linear_scan(Matrix(a), b, b[0], radix=radix)[1])
        text = f.trace(a, b).lower(lowering_platforms=(platform,)).as_text()
        return text.count("stablehlo.while")

    assert loops(256, "tpu") == 1
    assert loops(256, "tpu", 16) > 1
    assert loops(8, "tpu") > 1
    assert loops(256, "cuda") > 1
    assert loops(256, "cpu") == 1


def test_associative_refuses_what_is_not_linear():
    net = rnn.Stack((rnn.LRU(2), rnn.GRU(3)))
    params, xs = net.init(jax.random.key(0), rnn.features(2)), jnp.ones((5, 2))
    with pytest.raises(TypeError, match=r"GRU.*not linear.*Associative\(fallback=Scan\(\)\)"):
        rnn.unroll(net, params, xs, strategy=rnn.Associative())
    for kind, wrong in ((ValueError, 1), (ValueError, -2), (TypeError, 2.0), (TypeError, True)):
        with pytest.raises(kind, match="radix"):
            rnn.Associative(radix=wrong)
    with pytest.raises(TypeError, match="fallback"):
        rnn.Associative(fallback="scan")


def test_coefficients_that_do_not_fit_are_named():
    class Wrong(rnn.MinGRU):
        def coefficients(self, params, z):
            a, b = super().coefficients(params, z)
            return a, b[..., :-1]

    cell = Wrong(3)
    with pytest.raises(ValueError, match="coefficients"):
        rnn.unroll(cell, cell.init(jax.random.key(0), rnn.features(2)), jnp.ones((5, 2)))


def test_auto_shows_what_it_chose_and_why():
    net = rnn.Stack((rnn.Dense(3), rnn.GRU(3), rnn.CausalConv(3, 2), rnn.Bidirectional(rnn.LRU(2))))
    short, long = (
        rnn.Auto().select(net, jax.ShapeDtypeStruct((steps, 3), jnp.float32))
        for steps in (100, 40_000)
    )
    assert [(c.cell, c.strategy) for c in short] == [
        (rnn.GRU(3), rnn.Scan()),
        (rnn.LRU(2), rnn.Associative()),
        (rnn.LRU(2), rnn.Associative()),
    ]
    assert [c.strategy for c in long][:2] == [
        rnn.Chunked(256),
        rnn.Chunked(256, inner=rnn.Associative()),
    ]
    assert "linear" in short[1].reason
    # Of where the program will run nothing is known yet.
    assert "CPU" in short[1].reason
    assert "elsewhere" in short[1].reason
    assert "40,000" in long[0].reason


def test_auto_cuts_long_sequences():
    cell = rnn.MinGRU(2)
    params, xs = cell.init(jax.random.key(0), rnn.features(1)), jnp.ones((40_000, 1))

    def temporaries(strategy):
        def loss(params):
            return rnn.unroll(cell, params, xs, strategy=strategy)[1][-1].sum()

        return jax.jit(jax.grad(loss)).lower(params).compile().memory_analysis().temp_size_in_bytes

    assert temporaries(rnn.Auto()) < temporaries(rnn.Scan()) / 2
