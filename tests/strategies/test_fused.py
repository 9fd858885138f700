"""Fused: the kernel, in Pallas's interpreter, gives what `Scan` gives; what cannot be one is run by
`Scan`, and `select` says why.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.cases import CELLS, kinds
from helpers.cells import Plain
from helpers.tables import first
from jaxrnn.autodiff.kernels import lowering, tpu
from jaxrnn.testing import derivatives, laws
from jaxrnn.testing.derivatives import recast
from jaxrnn.testing.inputs import example
from jaxrnn.testing.observe import TOLERANCE, agree, observe
from jaxrnn.testing.ways import Folded, Whole

FUSED = rnn.Fused(interpret=True)
KEY = jax.random.key(0)
QUICK = ("lstm",)


@pytest.fixture(autouse=True)
def plans(monkeypatch):
    """The plans of all loops lowered in a test; a reason in the place of one is no kernel."""
    made, real = [], lowering.planned

    def planned(*args):
        made.append(real(*args))
        return made[-1]

    monkeypatch.setattr(lowering, "planned", planned)
    jax.clear_caches()
    yield made
    jax.clear_caches()


def names():
    """Every cell, and composites that are no variants."""
    found = [
        name
        for name, case in CELLS.items()
        if any(issubclass(k, rnn.Cell) for k in kinds(case.cell))
        and not (case.variant and isinstance(case.cell, rnn.Composite))
    ]
    return [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in found]


@pytest.mark.parametrize("name", names())
def test_a_kernel_gives_what_a_scan_gives(name, plans):
    """Values and gradients, in one direction of time in turn, with garbage under the mask, without
    controls, and in `fold` by pieces."""
    cell, x, *_ = CELLS[name]
    given, reverse = example(cell, x, KEY), bool(list(CELLS).index(name) % 2)
    noisy = laws.with_key(cell, given)
    mask = np.asarray(given.mask)
    dirty = noisy._replace(xs=laws.pick(mask, given.xs, laws.rubbish(given.xs)))
    truth = Whole(reverse=reverse)
    for claim, case in (("garbage under the mask", dirty), ("no controls", given.bare())):
        way = Whole(FUSED, reverse)
        agree(2, cell, f"Fused, {claim}", observe(way, cell, case), observe(truth, cell, case))
    if cell.causal:
        way = Folded(rnn.Chunked(3, inner=FUSED), reverse)
        agree(2, cell, "fold", observe(way, cell, noisy), observe(truth, cell, noisy))
    assert any(not isinstance(plan, str) for plan in plans)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lstm", "gru", "elman", "peephole", "lru", "diagonal gru"])
def test_every_mode_of_differentiation(name):
    cell, x, *_ = CELLS[name]
    derivatives.differentiated(cell, example(cell, x, KEY), FUSED, reverse=True, measure=False)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
@pytest.mark.parametrize("name", ["lstm", "gru", "mingru"])
def test_dtypes(name, dtype):
    cell, x, *_ = CELLS[name]
    with jax.enable_x64(dtype == "float64"):
        given = recast(example(cell, x, KEY), jnp.dtype(dtype))
        got, want = (observe(Whole(s), cell, given) for s in (FUSED, rnn.Scan()))
    agree(2, cell, f"Fused in {dtype}", got, want, TOLERANCE[dtype])


def difference(cell, strategy, xs, **controls):
    """The largest difference from `Scan` in outputs and gradients."""
    params = cell.init(KEY, xs.shape[-1])

    def loss(strategy, params, xs):
        _, ys = rnn.unroll(cell, params, xs, strategy=strategy, **controls)
        return jnp.sum(jnp.sin(ys)), ys

    got, want = (
        jax.jit(jax.grad(functools.partial(loss, s), (0, 1), has_aux=True))(params, xs)
        for s in (strategy, rnn.Scan())
    )
    gaps = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), got, want)
    return max(jax.tree.leaves(gaps))


@pytest.mark.parametrize(
    ("cell", "reverse"),
    first(1, [(rnn.LRU(4), True), (rnn.GRU(4), False), (rnn.LSTM(4), True)]),
)
def test_tiles_of_rows_and_blocks_of_steps_that_do_not_divide_time(
    plans, monkeypatch, cell, reverse
):
    monkeypatch.setattr(tpu, "STEPS", 3)
    monkeypatch.setattr(tpu, "tiles", lambda count: [8])
    xs = jax.random.normal(KEY, (7, 16, 3))
    resets = jax.random.bernoulli(KEY, 0.3, (7, 16))
    assert difference(cell, FUSED, xs, resets=resets, reverse=reverse) < 1e-5
    assert plans == [tpu.Plan(8, 3)] * 2


def test_vmap_over_sequences_is_more_rows(plans):
    cell, xs = rnn.LSTM(4), jax.random.normal(KEY, (5, 6, 3))
    params = cell.init(KEY, 3)

    def loss(strategy, params, xs):
        return jnp.sum(jnp.sin(rnn.unroll(cell, params, xs, strategy=strategy)[1]))

    each = [jax.vmap(jax.grad(functools.partial(loss, s)), (None, 1)) for s in (FUSED, rnn.Scan())]
    got, want = (jax.jit(f)(params, xs) for f in each)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), got, want)
    assert [plan.rows for plan in plans] == [6, 6]


@pytest.mark.slow
def test_params_of_their_own_by_scan(plans):
    """An ensemble: every member has weights of its own, and no kernel multiplies by them."""
    cell, xs = rnn.LSTM(4), jax.random.normal(KEY, (5, 2, 3))
    params = jax.vmap(lambda key: cell.init(key, 3))(jax.random.split(KEY, 3))

    def run(strategy):
        return jax.jit(jax.vmap(lambda p: rnn.unroll(cell, p, xs, strategy=strategy)[1]))(params)

    np.testing.assert_allclose(run(FUSED), run(rnn.Scan()), atol=1e-6)
    assert all(isinstance(plan, str) for plan in plans)


class Sorted(Plain):
    """A cell whose step sorts, which no kernel does."""

    def step(self, params, state, z, dot):
        return jnp.sort(super().step(params, state, z, dot))


def test_what_is_no_kernel_is_a_scan_and_select_says_why():
    xs = jnp.ones((5, 8, 3))
    assert difference(Sorted(4), FUSED, xs) < 1e-5

    def chosen(cell, xs=xs):
        return rnn.Fused().select(cell, xs)

    [sorts] = chosen(Sorted(4))
    assert sorts.strategy == rnn.Scan()
    assert "sort" in sorts.reason
    [large] = chosen(rnn.LSTM(2048))
    assert large.strategy == rnn.Scan()
    assert "67,1" in large.reason
    net = rnn.Stack((rnn.Dense(4), rnn.GRU(8), rnn.Bidirectional(rnn.LRU(4))))
    gru, *both = chosen(net)
    assert gru.strategy == rnn.Fused()
    assert gru.reason.startswith("one kernel forward and one backward: 8 rows a tile")
    assert [type(c.cell) for c in both] == [rnn.LRU, rnn.LRU]
    with pytest.raises(ValueError, match='need "tpu"'):
        rnn.Fused().select(rnn.GRU(3), xs, platform="cpu")


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_select_differentiates_what_unroll_does(platform):
    """Scalars under the key `fixed` have no gradient, which no kernel would add up."""
    [choice] = rnn.Fused().select(rnn.CoRNN(32), jnp.ones((16, 16, 32)), platform)
    assert choice.strategy == rnn.Fused()
