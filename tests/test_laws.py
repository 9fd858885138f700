"""Every cell, strategy, control and dtype of the table held to the laws."""

import inspect
import itertools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.cases import (
    CELLS,
    CONTROLS,
    DTYPES,
    LINEAR,
    NEWTON,
    STRATEGIES,
    dtypes,
    kinds,
    parallel,
)
from jaxrnn.controls import choose
from jaxrnn.testing import contract, derivatives, laws
from jaxrnn.testing.derivatives import recast
from jaxrnn.testing.inputs import BATCH, STEPS, example
from jaxrnn.testing.observe import TOLERANCE, agree, floating, observe
from jaxrnn.testing.ways import Blocks, Folded, Packed, Rows, Steps, Whole


@pytest.fixture(autouse=True)
def fresh():
    """Compiled functions are dropped after each test: thousands of them exhaust what one process
    may map."""
    yield
    jax.clear_caches()


def test_the_table_is_complete():
    public = [
        thing
        for thing in vars(rnn).values()
        if inspect.isclass(thing) and not inspect.isabstract(thing)
    ]
    cells = set().union(*(kinds(case.cell) for case in CELLS.values()))
    assert {c for c in public if issubclass(c, rnn.Layer)} <= cells
    strategies = set().union(
        *(kinds(strategy) for strategy in (STRATEGIES | LINEAR | NEWTON).values())
    )
    # Against Scan, where they differ from it: strategies/test_fused.py, test_wavefront.py.
    strategies |= {rnn.Fused, rnn.Wavefront}
    assert {s for s in public if issubclass(s, rnn.Strategy)} <= strategies


# One of each kind; the slow tests have every case.
KINDS = [
    *("elman", "lstm", "gru", "echo state", "diagonal gru", "lru", "selective", "dense", "embed"),
    *("convolution", "bidirectional"),
]
QUICK = {"gru", "lstm", "diagonal gru", "lru", "selective"}  # evaluated in parallel too


@pytest.mark.parametrize("name", KINDS)
def test_laws(name):
    """Each law once for every cell, in one direction of time; each strategy, control and dtype at
    least once."""
    cell, x, random, _ = CELLS[name]
    given = example(cell, x, jax.random.key(0))
    turn = list(CELLS).index(name)
    assert laws.draws(cell, given) == random
    contract.consistent(cell, given)
    laws.advancing(cell, given)
    chosen = [STRATEGIES["unrolled"], STRATEGIES["cut twice" if turn % 3 == 0 else "chunked"]]
    if name in QUICK:
        chosen[0] = next(iter(parallel(name).values()))
    # A causal cell meets the last of them in `fold`, which is less to compile.
    last = STRATEGIES["kept"]
    laws.strategic(
        cell,
        given,
        (*chosen,) if cell.causal else (*chosen, last),
        reverse=turn % 2 == 1,
        folded=last,
    )
    laws.masked(cell, given, reverse=True)
    laws.reset(cell, given, reverse=True)
    laws.batched(cell, given, ((Rows("vmap"), Rows("map"), Blocks())[turn % 3],))
    derivatives.differentiated(cell, given)
    drawn(cell, given)


def drawn(cell, given, reverse=False):
    """Any values, any mask and resets, any garbage under the mask: what is already compiled agrees
    with the truth."""
    flags = st.integers(0, 2 ** (STEPS * BATCH) - 1).map(
        lambda n: np.array([n >> i & 1 for i in range(STEPS * BATCH)], bool).reshape(STEPS, BATCH)
    )
    lengths = st.lists(st.integers(0, STEPS), min_size=BATCH, max_size=BATCH).map(
        lambda n: np.arange(STEPS)[:, None] < np.array(n)[None]
    )
    dirt = st.sampled_from([np.nan, np.inf, -1e30, 0.0])
    wrong = st.sampled_from([-1, 2**31 - 1, 7])  # tokens
    way, truth = (
        (Whole(reverse=reverse), Steps(reverse))
        if cell.causal
        else (Whole(reverse=True), Packed(reverse=True))
    )

    @hypothesis.given(
        st.integers(0, 2**32 - 1), st.floats(0.1, 2.0), flags | lengths, flags, dirt, wrong
    )
    def check(seed, scale, mask, resets, dirt, wrong):
        draw = np.random.default_rng(seed)
        state = jax.tree.map(
            lambda s: jnp.asarray(scale * draw.standard_normal(s.shape), s.dtype), given.state
        )
        xs = jax.tree.map(
            lambda a: (
                jnp.asarray(scale * draw.standard_normal(a.shape), a.dtype) if floating(a) else a
            ),
            given.xs,
        )
        clean = given._replace(
            state=state, xs=xs, mask=jnp.asarray(mask), resets=jnp.asarray(resets)
        )
        worst = jax.tree.map(lambda a: jnp.full_like(a, dirt if floating(a) else wrong), xs)
        dirty = clean._replace(xs=choose(clean.mask, xs, worst))
        agree(
            3, cell, "drawn by hypothesis", observe(way, cell, dirty), observe(truth, cell, clean)
        )

    check()


def directions(name):
    """Both directions of time, or for a variant one in turn."""
    turn = list(CELLS).index(name)
    return (turn % 2 == 1,) if CELLS[name].variant else (False, True)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CELLS if name not in KINDS])
def test_laws_of_all_others(name):
    """All but the second law, which is the product's. A variant meets one kind of rows in turn, and
    of the derivatives here finite differences alone: `test_derivatives_by_strategies` has the
    rest."""
    cell, x, _, variant = CELLS[name]
    given = example(cell, x, jax.random.key(1))
    contract.consistent(cell, given)
    every, turn = (Rows("vmap"), Rows("map"), Blocks()), list(CELLS).index(name) % 3
    laws.batched(cell, given, every[turn : turn + 1] if variant else every)
    if variant:
        with jax.enable_x64(True):
            derivatives.finite(cell, recast(given, jnp.float64), Whole())
    else:
        derivatives.differentiated(cell, given)
    for reverse in directions(name):
        laws.advancing(cell, given, reverse)
        laws.masked(cell, given, reverse)
        laws.reset(cell, given, reverse)
        if cell.causal or reverse:
            drawn(cell, given, reverse)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_laws_the_other_way(name):
    """What `test_laws` left: the other direction of time, the other kinds of rows."""
    cell, x, *_ = CELLS[name]
    given = example(cell, x, jax.random.key(1))
    turn = list(CELLS).index(name) % 3
    every = (Rows("vmap"), Rows("map"), Blocks())
    laws.batched(cell, given, every[:turn] + every[turn + 1 :])
    laws.advancing(cell, given, reverse=True)
    laws.masked(cell, given)
    laws.reset(cell, given)
    if cell.causal:
        drawn(cell, given, reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dtype"), [(name, dtype) for name in CELLS for dtype in dtypes(name)]
)
def test_the_product(name, dtype):
    """Half of the strategies in turn, `fold` too, each in one direction in turn (of a variant half
    of these in one direction), under every control, with noise, against a loop over advance in
    float32 or wider."""
    cell, x, *_ = CELLS[name]
    with jax.enable_x64(dtype == "float64"):
        given = laws.with_key(cell, recast(example(cell, x, jax.random.key(2)), DTYPES[dtype]))
        turn = list(CELLS).index(name)
        some = ("scan", *(("unrolled", "cut twice") if turn % 2 else ("chunked", "kept")))
        strategies = {s: STRATEGIES[s] for s in some} | (
            {} if dtype == "bfloat16" else parallel(name)
        )
        for reverse, (masked, reset) in itertools.product(directions(name), CONTROLS.values()):
            # Flags that change nothing, so that every control is compiled once; by one strategy in
            # turn, no flags.
            case = given._replace(mask=given.mask | (not masked), resets=given.resets & reset)
            bare = given._replace(
                mask=given.mask if masked else None, resets=given.resets if reset else None
            )
            truth = Steps(reverse) if cell.causal else Whole(reverse=reverse)
            want = observe(truth, cell, recast(case, jnp.float32) if dtype == "bfloat16" else case)
            for k, way in enumerate(
                [Whole(strategy, reverse) for strategy in strategies.values()]
                + [Folded(reverse=reverse)] * cell.causal
            ):
                if (k + turn // 2 + reverse) % 2:  # two cells on the other way
                    continue
                flagged = dtype != "float32" or k != turn % len(strategies)
                got = jax.tree.map(
                    lambda a, b: a.astype(b.dtype),
                    observe(way, cell, case if flagged else bare),
                    want,
                )
                agree(
                    2, cell, f"{way!r}, mask {masked}, resets {reset}", got, want, TOLERANCE[dtype]
                )


def strategies_of(turn, name):
    """One of those that cut time in turn, and all that run side by side; what Auto takes is among
    them. A variant meets one of these in turn."""
    beside = sorted(parallel(name).keys() - {"auto"})
    if name not in ("lstm", "gru"):  # pieces take longest to compile, and these two show them
        beside = ["newton" if s == "newton in pieces" else s for s in beside]
    every = [("chunked", "kept")[turn % 2], *beside]
    return [every[turn % len(every)]] if CELLS[name].variant else every


BY = [(name, s) for turn, name in enumerate(CELLS) for s in strategies_of(turn, name)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "strategy"), BY)
def test_derivatives_by_strategies(name, strategy):
    cell, x, *_ = CELLS[name]
    strategies = STRATEGIES | LINEAR | NEWTON
    derivatives.differentiated(
        cell, example(cell, x, jax.random.key(3)), strategies[strategy], reverse=True, measure=False
    )
