"""Newton: how soon it is there, that it says where it is not, warm starts, and exact gradients
whatever the iteration used."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.tables import first
from jaxrnn import newton_solve

T, B, F, H = 1024, 2, 3, 8
CELLS = [rnn.GRU(H), rnn.LSTM(H), rnn.Elman(H), rnn.DiagonalGRU(H), rnn.DiagonalLSTM(H)]


def contracting(cell, scale=0.3):
    """A cell that forgets: its recurrent weights are small."""
    params = cell.init(jax.random.key(0), rnn.features(F))
    return {**params, "w_h": scale * params["w_h"]}, jax.random.normal(jax.random.key(1), (T, B, F))


@pytest.mark.parametrize("cell", first(2, CELLS), ids=repr)
def test_contracting_cells_agree_with_scan_in_ten_iterations(cell):
    params, xs = contracting(cell)
    weights = jax.random.normal(jax.random.key(2), (T, B, H))

    def loss(strategy):
        def run(params, xs):
            state, ys = rnn.unroll(cell, params, xs, strategy=strategy)
            return jnp.mean(weights * ys) + sum(jnp.mean(s) for s in jax.tree.leaves(state)), ys

        return jax.jit(jax.value_and_grad(run, (0, 1), has_aux=True))(params, xs)

    ((_, want), want_grads), ((_, got), grads) = loss(rnn.Scan()), loss(rnn.Newton(max_iters=10))
    np.testing.assert_allclose(got, want, atol=1e-4)
    for x, y in zip(jax.tree.leaves(grads), jax.tree.leaves(want_grads), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-4 * float(jnp.abs(y).max()))
    _, _, info = newton_solve(cell, params, xs)
    assert int(info.iterations) <= 10
    assert info.converged.all()
    assert float(info.residual.max()) < 1e-4


@pytest.mark.parametrize("cell", [rnn.GRU(H), rnn.LSTM(H)], ids=repr)
def test_the_gradient_is_exact_where_the_iteration_is_not(cell):
    params, xs = contracting(cell)
    xs = xs[:64]

    def grads(strategy):
        return jax.jit(
            jax.grad(
                lambda p, xs: jnp.sum(jnp.sin(rnn.unroll(cell, p, xs, strategy=strategy)[1])),
                (0, 1),
            )
        )(params, xs)

    want, got = grads(rnn.Scan()), grads(rnn.Newton(jacobian="diagonal"))
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-4 * float(jnp.abs(y).max()))


@pytest.mark.parametrize("jacobian", ["full", "diagonal"])
def test_an_expanding_row_is_nan_and_says_so_and_no_other_is(jacobian):
    cell = rnn.Elman(H)
    params, xs = contracting(cell, scale=4.0)
    xs = xs[:512].at[:, 1].set(20.0 * jnp.sign(xs[:1, 1]))  # saturated: this row forgets at once
    state, ys, info = newton_solve(
        cell, params, xs, strategy=rnn.Newton(max_iters=20, jacobian=jacobian)
    )
    assert info.converged.tolist() == [False, True]
    assert jnp.isnan(ys[:, 0]).all()
    assert jnp.isnan(state[0]).all()
    np.testing.assert_allclose(ys[:, 1], rnn.unroll(cell, params, xs)[1][:, 1], atol=1e-4)

    def loss(xs):
        return jnp.sum(
            rnn.unroll(cell, params, xs, strategy=rnn.Newton(max_iters=20, jacobian=jacobian))[1]
            ** 2
        )

    assert jnp.isnan(jax.grad(loss)(xs)[:, 0]).all()
    assert jnp.isfinite(jax.grad(lambda xs: loss(xs[:, 1:]))(xs)).all()


@pytest.mark.parametrize("jacobian", ["full", "diagonal"])
def test_an_expanding_system_is_solved_as_far_as_its_digits_last(jacobian):
    """As many iterations as steps solve any system, but rounding grows along it: a row that lost
    its digits is NaN, however well each step fits."""
    cell, lengths = rnn.Elman(H), jnp.array([20, 60, 110, 140, 419])
    params, xs = contracting(cell, scale=4.0)
    xs = jnp.broadcast_to(xs[:420, :1], (420, len(lengths), F))
    mask = rnn.lengths_to_mask(lengths, 420)
    strategy = rnn.Newton(max_iters=150, jacobian=jacobian)
    _, ys, info = newton_solve(cell, params, xs, mask=mask, strategy=strategy)
    assert info.converged.tolist() == [True, True, False, False, False]
    assert (info.residual[:4] < 1e-5).all()
    assert (info.rounding[2:] > 1e-3).all()
    assert jnp.isnan(ys[:110, 2:]).all()
    with jax.enable_x64(True):
        true = rnn.unroll(
            cell,
            *jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.float64), (params, xs[:60, 0])),
        )[1]
        np.testing.assert_allclose(ys[:20, 0], true[:20], atol=1e-5)
        share = (np.asarray(ys[:60, 1], np.float64) - true) / (1 + jnp.abs(true))
        np.testing.assert_allclose(share, 0, atol=2e-3)  # what `rounding` may be
    assert (newton_solve(cell, *contracting(cell))[2].rounding < 1e-6).all()


def test_numbers_that_overflow_are_not_taken_for_convergence():
    """In a long sequence XLA:CPU loses the NaN of an infinite step in its maximum, which would end
    the iteration."""
    cell = rnn.Elman(H)
    params, xs = contracting(cell, scale=2.0)
    _, _, info = newton_solve(cell, params, xs[:, 0], strategy=rnn.Newton(max_iters=30))
    assert int(info.iterations) == 30
    assert not info.converged.any()


def test_as_many_iterations_as_steps_solve_anything():
    cell = rnn.Elman(H)
    params, xs = contracting(cell, scale=4.0)
    want, got = (
        rnn.unroll(cell, params, xs[:12], strategy=s)[1] for s in (rnn.Scan(), rnn.Newton())
    )
    np.testing.assert_allclose(got, want, atol=1e-3)


def test_windows_bound_what_must_converge_at_once():
    cell = rnn.GRU(H)
    params, xs = contracting(cell)
    want, got = (
        rnn.unroll(cell, params, xs, strategy=s)[1]
        for s in (rnn.Scan(), rnn.Chunked(100, inner=rnn.Newton()))
    )
    np.testing.assert_allclose(got, want, atol=1e-4)

    def temporaries(strategy):
        run = jax.jit(lambda p: rnn.unroll(cell, p, xs, strategy=strategy)[1].sum())
        return run.lower(params).compile().memory_analysis().temp_size_in_bytes

    assert temporaries(rnn.Chunked(64, inner=rnn.Newton())) < temporaries(rnn.Newton()) / 4


@pytest.mark.slow
def test_second_derivatives_in_a_loop_in_any_order():
    """Where `jax.custom_jvp` forgets its rule:
    reverse over reverse through the scan over the chunks."""
    cell = rnn.DiagonalLSTM(2)
    params, xs = (
        cell.init(jax.random.key(0), rnn.features(2)),
        jax.random.normal(jax.random.key(1), (5, 2)),
    )

    def products(strategy):
        def grad(p):
            return jax.grad(
                lambda p: jnp.sum(jnp.sin(rnn.unroll(cell, p, xs, strategy=strategy)[1]))
            )(p)

        def along(p):
            return sum(
                jnp.vdot(a, b)
                for a, b in zip(jax.tree.leaves(grad(p)), jax.tree.leaves(params), strict=True)
            )

        return jax.jit(lambda p: (jax.grad(along)(p), jax.jvp(grad, (p,), (params,))[1]))(params)

    for x, y in zip(
        jax.tree.leaves(products(rnn.Chunked(3, inner=rnn.Newton()))),
        jax.tree.leaves(products(rnn.Scan())),
        strict=True,
    ):
        np.testing.assert_allclose(x, y, atol=1e-5)


def test_a_guess_saves_iterations():
    cell = rnn.GRU(H)
    params, xs = contracting(cell)
    _, _, info = newton_solve(cell, params, xs)
    moved = jax.tree.map(lambda p: p * 1.001, params)
    _, ys, warm = newton_solve(cell, moved, xs, info.states)
    _, want, cold = newton_solve(cell, moved, xs)
    assert int(warm.iterations) < int(cold.iterations)
    np.testing.assert_allclose(ys, want, atol=1e-4)


def test_solve_takes_what_unroll_takes():
    cell = rnn.LSTM(H)
    params, xs = contracting(cell)
    xs = xs[:20]
    mask = jnp.arange(20)[:, None] < jnp.array([20, 7])
    given = {"mask": mask, "resets": jnp.zeros_like(mask).at[5].set(True), "reverse": True}
    given["state"] = jax.tree.map(lambda s: s + 0.3, cell.initial_state(params, (B,)))
    state, ys, _ = newton_solve(cell, params, xs, **given)
    want_state, want = rnn.unroll(cell, params, xs, **given)
    np.testing.assert_allclose(ys, want, atol=1e-5)
    for x, y in zip(state, want_state, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)
    state, ys, info = newton_solve(cell, params, xs[:0])
    assert ys.shape == (0, B, H)
    assert info.converged.all()


@pytest.mark.parametrize("cell", [rnn.IndRNN(H), *(c for c in CELLS if c.elementwise)], ids=repr)
def test_elementwise_cells_are(cell):
    params, xs = contracting(cell, scale=1.0)
    z = cell.project(params, xs[:1, 0])[0]
    state = jax.tree.map(lambda s: s + 0.2, cell.initial_state(params))
    jacobian = jax.jacobian(lambda s: cell.step(params, s, z, rnn.Dot(params)))(state)
    for block in jax.tree.leaves(jacobian):
        np.testing.assert_array_equal(block * (1 - jnp.eye(H)), 0)


def test_what_it_refuses():
    net = rnn.Stack((rnn.GRU(2),))
    params, xs = net.init(jax.random.key(0), rnn.features(2)), jnp.ones((4, 2))
    with pytest.raises(TypeError, match="one cell with a state"):
        newton_solve(net, params, xs)
    with pytest.raises(TypeError, match=r"need a Newton"):
        newton_solve(rnn.GRU(2), params[0], xs, strategy=rnn.Scan())
    with pytest.raises(ValueError, match=r"guess.*float32\[4, 2\]"):
        newton_solve(rnn.GRU(2), params[0], xs, jnp.zeros((3, 2)))
    for wrong in ({"max_iters": 0}, {"tol": 0.0}, {"jacobian": "none"}, {"radix": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            rnn.Newton(**wrong)


@pytest.mark.parametrize(
    ("cell", "strategy"),
    first(
        1,
        [
            (rnn.DiagonalLSTM(4), rnn.Newton(radix=2)),
            (rnn.LSTM(4), rnn.Newton()),
            (rnn.GRU(4), rnn.Newton(jacobian="diagonal")),
            (rnn.LRU(4), rnn.Associative(radix=2)),
        ],
    ),
    ids=repr,
)
def test_rows_by_vmap_before_and_after_differentiation(cell, strategy):
    params = cell.init(jax.random.key(0), rnn.features(F))
    xs, scale = jax.random.normal(jax.random.key(1), (B, 9, F)), jnp.array([0.5, 2.0])
    states = jax.tree.map(
        lambda s: s + jnp.array([[0.0], [0.3], [0.6]]), cell.initial_state(params)
    )

    def loss(params, x, scale, strategy):
        return jnp.sum(jnp.sin(scale * rnn.unroll(cell, params, x, strategy=strategy)[1]))

    def both(strategy):
        within = jax.vmap(jax.grad(loss, (0, 1)), (None, 0, 0, None))(params, xs, scale, strategy)
        total = jax.grad(
            lambda params, xs: jax.vmap(loss, (None, 0, 0, None))(
                params, xs, scale, strategy
            ).sum(),
            (0, 1),
        )(params, xs)

        def row(x, state):
            return rnn.unroll(cell, params, x, state=state, strategy=strategy)[1]

        nested = jax.vmap(jax.vmap(row, (0, None)), (None, 0))(xs, states)
        return within, total, nested

    got, want = (
        jax.jit(both, static_argnums=0)(strategy),
        jax.jit(both, static_argnums=0)(rnn.Scan()),
    )
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-4 * float(jnp.abs(y).max()))


def test_jacobians_are_all_that_is_large():
    """A direction is the same at every step, so its product with a weight is not made for each."""
    steps, rows, size = 64, 8, 32
    cell = rnn.GRU(size)
    params, xs = cell.init(jax.random.key(0), rnn.features(3)), jnp.ones((steps, rows, 3))

    def f(params, xs):
        return rnn.unroll(cell, params, xs, strategy=rnn.Newton(radix=0))[1]

    compiled = jax.jit(f).lower(params, xs).compile()
    jacobians = 4 * steps * rows * size**2
    assert compiled.memory_analysis().temp_size_in_bytes < 3 * jacobians
