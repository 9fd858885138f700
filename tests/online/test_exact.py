"""RTRL, BPTT and a wide window are the gradient; SnAp-1 and e-prop are, where units are alone."""

import jax
import jax.numpy as jnp
import pytest

import jaxrnn as rnn
from helpers.cases import CELLS
from helpers.online import apart, backwards, forwards, loss, problem
from jaxrnn import online

# Every single layer with a state, and a few nets.
CASES = {
    name: case
    for name, case in CELLS.items()
    if (isinstance(case.cell, rnn.Cell) and not case.cell.takes_memory and not case.random)
    or name in ("stack", "deep", "tied", "learned state", "transformed")
}
ALONE = ("diagonal gru", "diagonal lstm", "lru", "s5", "mingru", "minlstm", "rg-lru", "selective")

NET = rnn.Stack((rnn.LearnedState(rnn.LSTM(2)), rnn.Dense(2)))


@pytest.fixture(scope="module")
def small():
    made = problem(NET)
    return made, backwards(made)


@pytest.mark.parametrize(
    "algorithm", [online.RTRL(NET, loss), online.BPTT(NET, loss, 6), online.TBPTT(NET, loss, 8)]
)
def test_it_is_the_gradient(small, algorithm):
    made, (total, grads) = small
    got, sums, _ = forwards(algorithm, made)
    assert abs(got - total) < 1e-5
    assert apart(sums, grads) < 1e-5


@pytest.mark.parametrize(
    "kind",
    [
        online.RTRL,
        pytest.param(online.SnAp1, marks=pytest.mark.slow),
        pytest.param(online.UORO, marks=pytest.mark.slow),
        pytest.param(online.ForwardGradient, marks=pytest.mark.slow),
    ],
)
def test_a_reset_forgets_even_a_nan(small, kind):
    made, _ = small
    xs, targets = jax.tree.map(jnp.nan_to_num, (made.xs, made.targets))
    mask, resets = made.mask.at[0].set(True), made.resets.at[0].set(True)
    made = made._replace(xs=xs, targets=targets, mask=mask, resets=resets)
    algorithm = kind(NET, loss)
    clean = algorithm.init(made.params, made.batch, jax.random.key(0))
    kept = ("state", "influence", "left", "right", "tangent")
    spoiled = clean._replace(
        **{
            name: jax.tree.map(lambda a: jnp.full_like(a, jnp.nan), getattr(clean, name))
            for name in set(kept) & set(clean._fields)
        }
    )
    got, sums, _ = forwards(algorithm, made, learner=spoiled)
    assert abs(got - backwards(made)[0]) < 1e-5
    want = backwards(made)[1] if kind is online.RTRL else sums
    assert apart(sums, want) < 1e-5  # and no NaN


@pytest.mark.parametrize("algorithm", [online.RTRL, online.SnAp1, online.EProp])
def test_units_that_are_alone(algorithm):
    net = rnn.Stack((rnn.LearnedState(rnn.DiagonalGRU(2)), rnn.Dense(2)))
    made = problem(net, batch=(2, 1))
    _, sums, learner = forwards(algorithm(net, loss), made)
    assert apart(sums, backwards(made)[1]) < 1e-5
    # One number for each param and leaf of the state, not for each unit of the state.
    shapes = {a.shape for a in jax.tree.leaves(learner.influence)}
    assert shapes == {(2, 1, 1, *p.shape) for p in jax.tree.leaves(made.params[0])}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_cell(name, x64):
    cell, x = CASES[name].cell, CASES[name].x
    made = problem(cell, jax.tree.map(doubled, x), dtype=jnp.float64)
    exact = backwards(made)[1]
    local = [online.SnAp1, online.EProp] if name in ALONE else []
    for algorithm in [online.RTRL, *local]:
        assert apart(forwards(algorithm(cell, loss), made)[1], exact) < 1e-10


def doubled(x):
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    return rnn.features(*x.shape, dtype=jnp.float64) if floating else x
