"""Wavefront: cells of a stack side by side, a chunk apart, give what `Scan` gives one by one."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.jaxprs import equations
from jaxrnn.testing import derivatives, laws
from jaxrnn.testing.inputs import STEPS, example
from jaxrnn.testing.observe import agree, observe
from jaxrnn.testing.ways import Folded, Whole
from jaxrnn.wavefront import in_a_row

KEY = jax.random.key(0)
GATED = rnn.Zoneout(rnn.RecurrentDropout(rnn.GRU(3), 0.3, per="step"), 0.2)
# Inputs of other widths, noise, what stands between, before and behind.
ROWS = {
    "gru": rnn.Stack((rnn.GRU(3), rnn.Dropout(0.2), rnn.GRU(3), rnn.Dense(2))),
    "three": rnn.Stack((rnn.Dense(2), rnn.Elman(3), rnn.Elman(3), rnn.LayerNorm(), rnn.Elman(3))),
    "noisy": rnn.Stack((GATED, GATED)),
    "both ways": rnn.Bidirectional(rnn.Stack((rnn.LSTM(2), rnn.LSTM(2)))),
}


@pytest.mark.parametrize("size", [2, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "reverse"),
    [
        ("gru", True),
        ("three", False),
        *[pytest.param(n, r, marks=pytest.mark.slow) for n, r in (("noisy", True), ("gru", False))],
        pytest.param("both ways", False, marks=pytest.mark.slow),
    ],
)
def test_it_gives_what_a_scan_gives(name, reverse, size):
    """Values and gradients, under masks and resets, with noise, with NaN under the mask."""
    net = ROWS[name]
    given = example(net, 2, KEY)
    noisy = laws.with_key(net, given)
    dirty = noisy._replace(xs=laws.pick(np.asarray(given.mask), given.xs, laws.rubbish(given.xs)))
    want = observe(Whole(reverse=reverse), net, dirty)
    strategy = rnn.Wavefront(size)
    agree(2, net, repr(strategy), observe(Whole(strategy, reverse), net, dirty), want)


@pytest.mark.slow
def test_every_mode_of_differentiation_and_chunks():
    net = ROWS["gru"]
    given = example(net, 2, KEY)
    derivatives.differentiated(net, given, rnn.Wavefront(2), reverse=True, measure=False)
    by = rnn.Chunked(4, inner=rnn.Wavefront(2))
    want = observe(Whole(), net, given)
    agree(2, net, repr(by), observe(Whole(by), net, given), want)
    agree(2, net, "fold", observe(Folded(rnn.Wavefront(2)), net, given), want)


def test_cells_of_a_stage_are_one_loop():
    net = ROWS["gru"]
    params, xs = net.init(KEY, 2), jnp.ones((STEPS, 3, 2))

    def loss(params, strategy):
        return rnn.unroll(net, params, xs, strategy=strategy)[1].sum()

    def most(strategy):
        found = jax.make_jaxpr(jax.grad(lambda params: loss(params, strategy)))(params)
        return [len(eqn.params["reverse"]) for eqn in equations(found.jaxpr, "loop")]

    assert set(most(rnn.Scan())) == {1}
    # First and last stages of one cell, and one stage of two that is repeated; forward and back.
    assert sorted(most(rnn.Wavefront(2)))[-2:] == [2, 2]


def test_which_layers_are_in_a_row():
    a, b, skip, norm = rnn.GRU(3), rnn.GRU(4), rnn.Residual(rnn.GRU(3)), rnn.LayerNorm()

    def row(*layers, size=5, steps=20):
        return list(in_a_row(layers, rnn.Wavefront(size), steps))

    assert row(a, a) == [0, 1]
    assert row(norm, a, norm, a, norm) == [1, 2, 3]
    assert row(b, a, b, a, a, b) == [3, 4]
    assert row(a, skip, a) == row(a, b) == row(a) == row(norm, norm) == []
    assert row(rnn.LRU(3), rnn.LRU(3)) == []  # a linear cell has no loop
    assert row(a, a, a, steps=10) == [0, 1]  # as many cells as there are chunks
    assert row(a, a, steps=9) == row(a, a, steps=jax.export.symbolic_shape("T")[0]) == []
