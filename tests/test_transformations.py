"""What JAX does to a plain `lax.scan` over `advance`, done to `unroll`: the same, errors too.

One table: transformations x cells x strategies. A user's cell and two others meet each
transformation under one strategy in turn; the slow tests run the rest. What JAX cannot do to a
plain scan either is a list at the end, and a test holds it to be true.
"""

import functools
import importlib.util
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.experimental import checkify

import jaxrnn as rnn
from helpers.tables import first

STEPS, BATCH, FEATURES = 6, 2, 2


class Gated(rnn.Cell):
    """A user's cell: the minimal gated unit of the README (Zhou et al. 2016)."""

    hidden: int

    def init(self, key, x):
        kx, kf, kn = jax.random.split(key, 3)
        square = (self.hidden, self.hidden)
        return {
            "w_x": jax.random.normal(kx, (x.shape[-1], 2 * self.hidden)),
            "b": 0.1 * jnp.arange(2.0 * self.hidden),
            "w_f": jax.random.normal(kf, square),
            "w_n": jax.random.normal(kn, square),
        }

    def initial_state(self, params, batch_shape=()):
        return jnp.zeros((*batch_shape, self.hidden))

    def project(self, params, xs, noise=None):
        return rnn.matmul(xs, params["w_x"])

    def step(self, params, h, z, dot):
        zf, zn = jnp.split(dot.add(z, "b"), 2, axis=-1)
        f = jax.nn.sigmoid(zf + dot(h, "w_f"))
        return (1 - f) * h + f * jnp.tanh(zn + dot(f * h, "w_n"))

    def readout(self, params, h, z):
        return h.astype(params["w_f"].dtype)


class Checked(Gated):
    """Its step says what it needs."""

    def step(self, params, h, z, dot):
        checkify.check(jnp.all(z < 50), "an input of {top} is too large", top=jnp.max(z))
        return super().step(params, h, z, dot)


class Log(Gated):
    """NaN where a sum is negative."""

    def step(self, params, h, z, dot):
        return jnp.log(super().step(params, h, z, dot))


class Root(Gated):
    """Finite values, and a derivative that is infinity times nothing."""

    def step(self, params, h, z, dot):
        return super().step(params, h, z, dot) + jnp.sqrt(0 * h)


CELLS = {
    "lstm": rnn.LSTM(3),
    "gru": rnn.GRU(3),
    "lru": rnn.LRU(3, r_max=0.9),
    "stack": rnn.Stack((rnn.LSTM(3), rnn.Dense(2))),
    "user": Gated(3),
}
STRATEGIES = {
    "scan": rnn.Scan(),
    "chunked": rnn.Chunked(3),
    "associative": rnn.Associative(fallback=rnn.Scan()),
}
NEWTON = {"newton": rnn.Newton(), "newton in pieces": rnn.Chunked(3, inner=rnn.Newton())}


def plain(cell):
    """`run(params, xs) -> (state, ys)` as JAX alone does it."""

    def run(params, xs):
        def step(state, x):
            return rnn.advance(cell, params, state, x)

        return jax.lax.scan(step, cell.initial_state(params, xs.shape[1:-1]), xs)

    return run


def ours(cell, strategy):
    return lambda params, xs: rnn.unroll(cell, params, xs, strategy=strategy)


@functools.cache
def given(cell, steps=STEPS, batch=BATCH):
    draw = np.random.default_rng(0)
    params = cell.init(jax.random.key(0), rnn.features(FEATURES))
    params = jax.tree.map(lambda a: a + 0.1 * draw.standard_normal(a.shape).astype(a.dtype), params)
    return params, jnp.asarray(draw.standard_normal((steps, batch, FEATURES)), jnp.float32)


def total(tree):
    """A curved loss over all leaves."""
    leaves = [leaf.astype(jnp.float32) for leaf in jax.tree.leaves(tree)]
    return sum((jnp.sum(jnp.sin(1.3 * leaf + 0.7)) for leaf in leaves), jnp.float32(0))


def both(run):
    """`f(params, xs)`: outputs and last state, and the gradient in params and xs."""
    slopes = jax.grad(lambda params, xs: total(run(params, xs)), (0, 1))
    return lambda params, xs: (run(params, xs), slopes(params, xs))


def close(got, want, tolerance=2e-5):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(want), strict=True
    ):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype), jax.tree_util.keystr(path)
        a, b = a.astype(np.float32), b.astype(np.float32)
        size = max(np.abs(b).max(initial=0), 1e-2)
        np.testing.assert_allclose(
            a / size, b / size, rtol=0, atol=tolerance, err_msg=jax.tree_util.keystr(path)
        )


# Each transformation is a function of a run, params and xs; what it returns is compared.


def without_jit(run, params, xs):
    with jax.disable_jit():
        return both(run)(params, xs)


def looking_for_nan(run, params, xs):
    with jax.debug_nans(True):
        both(run)(params, xs)
        return jax.jit(both(run))(params, xs)


def looking_for_leaks(run, params, xs):
    jax.clear_caches()  # what is traced already is not looked at
    with jax.check_tracer_leaks():
        return jax.jit(both(run))(params, xs)


def strict(run, params, xs):
    """Params of 16 bits, states of 32: nothing is promoted in passing."""
    params = jax.tree.map(lambda a: a.astype(jnp.bfloat16), params)
    with jax.numpy_dtype_promotion("strict"):
        return jax.jit(both(run))(params, xs.astype(jnp.bfloat16))


def checked(run, params, xs):
    """Every check there is that JAX can make within `jax.checkpoint`, and none fails."""
    errors = checkify.user_checks | checkify.float_checks
    error, made = jax.jit(checkify.checkify(both(run), errors=errors))(params, xs)
    error.throw()
    return made


def restored(exported):
    """Written and read again, where the package that JAX needs for it is there."""
    if importlib.util.find_spec("flatbuffers") is None:
        return exported
    return export.deserialize(exported.serialize(vjp_order=1))


def specs(tree):
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), tree)


def at_two_shapes(f, params, xs):
    """An artefact of any steps and rows, called with two shapes of inputs."""
    t, b = export.symbolic_shape("t, b")
    spec = jax.ShapeDtypeStruct((t, b, xs.shape[2]), xs.dtype)
    made = restored(export.export(jax.jit(f))(specs(params), spec))
    return made.call(params, xs), made.call(params, jnp.tile(xs, (2, 2, 1))[:-1])


def exported_forward(run, params, xs):
    return at_two_shapes(run, params, xs)


def exported_gradient(run, params, xs):
    return at_two_shapes(both(run), params, xs)


def exported_and_differentiated(run, params, xs):
    """The gradient of an artefact's call, which exports the derivative too."""
    (b,) = export.symbolic_shape("b")
    spec = jax.ShapeDtypeStruct((xs.shape[0], b, xs.shape[2]), xs.dtype)
    made = restored(export.export(jax.jit(run))(specs(params), spec))
    return jax.grad(lambda params, xs: total(made.call(params, xs)), (0, 1))(params, xs)


def exported_for_all(run, params, xs):
    """One artefact for three platforms, called on this one."""
    platforms = ("cpu", "cuda", "tpu")
    exporting = export.export(jax.jit(both(run)), platforms=platforms)
    made = restored(exporting(specs(params), specs(xs)))
    assert made.platforms == platforms
    return made.call(params, xs)


def in_while(run, params, xs):
    def body(carry):
        i, acc = carry
        _, ys = run(params, xs + acc)
        return i + 1, acc + total(ys) / 10

    return jax.jit(lambda: jax.lax.while_loop(lambda c: c[0] < 3, body, (0, jnp.float32(0))))()


def in_scan_and_vmap(run, params, xs):
    """Members of an ensemble, each over batches in a scan; the gradient through both."""
    members = jax.tree.map(lambda a: jnp.stack([a, 0.9 * a]), params)
    batches = jnp.stack([xs, xs[::-1], xs + 1])

    def member(params):
        return jax.lax.scan(
            lambda acc, xs: (acc + total(run(params, xs)), acc), jnp.float32(0), batches
        )[0]

    return jax.jit(jax.vmap(jax.value_and_grad(member)))(members)


def in_nested_scan(run, params, xs):
    """The outputs of one pass are the inputs of the next."""
    wide = jnp.zeros((run(params, xs)[1].shape[-1], xs.shape[-1])) + 0.3

    def loss(params):
        def again(xs, _):
            ys = run(params, xs)[1] @ wide
            return ys, ys

        return total(jax.lax.scan(again, xs, length=3))

    return jax.jit(jax.value_and_grad(loss))(params)


def jacobian_forward(run, params, xs):
    return jax.jit(jax.jacfwd(lambda *args: run(*args)[1][-1], (0, 1)))(params, xs)


def jacobian_reverse(run, params, xs):
    return jax.jit(jax.jacrev(lambda *args: run(*args)[1][-1], (0, 1)))(params, xs)


def hessian(run, params, xs):
    return jax.jit(jax.hessian(lambda params: total(run(params, xs[:, :1]))))(params)


def rematerialised(run, params, xs):
    policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
    wrapped = jax.checkpoint(run), jax.checkpoint(run, policy=policy)
    return jax.jit(lambda *args: tuple(both(f)(*args) for f in wrapped))(params, xs)


def donated(run, params, xs):
    """A step of gradient descent that gives its params away."""

    @functools.partial(jax.jit, donate_argnums=0)
    def descend(params, xs):
        slopes = jax.grad(lambda params: total(run(params, xs)))(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, slopes)

    once = descend(jax.tree.map(jnp.copy, params), xs)
    kept = jax.tree.leaves(once)
    twice = descend(once, xs)
    assert all(leaf.is_deleted() for leaf in kept), "the params were not given away"
    return twice


def no_steps(run, params, xs):
    return jax.jit(both(run))(params, xs[:0])


def one_step(run, params, xs):
    return jax.jit(both(run))(params, xs[:1])


VALUES = (without_jit, looking_for_nan, looking_for_leaks, strict, checked)
ARTEFACTS = (exported_forward, exported_gradient, exported_and_differentiated, exported_for_all)
WITHIN = (in_while, in_scan_and_vmap, in_nested_scan, rematerialised, donated)
DERIVATIVES = (jacobian_forward, jacobian_reverse, hessian)
LENGTHS = (no_steps, one_step)
TABLE = {f.__name__: f for f in (*VALUES, *ARTEFACTS, *WITHIN, *DERIVATIVES, *LENGTHS)}
TOLERANCE = {"strict": 6e-2, "hessian": 1e-4, "in_nested_scan": 1e-4}


# Those that give what a bare scan gives.
UNCHANGED = {without_jit, looking_for_nan, looking_for_leaks, checked, exported_for_all}


@functools.cache
def bare(cell):
    return jax.jit(both(plain(CELLS[cell])))(*given(CELLS[cell]))


@functools.cache
def transformed(name, cell):
    """The table on a plain scan: that it works at all shows that the test is right."""
    return TABLE[name](plain(CELLS[cell]), *given(CELLS[cell]))


def wanted(name, cell):
    return bare(cell) if TABLE[name] in UNCHANGED else transformed(name, cell)


# What is not linear runs under `Associative` as it does under its fallback, so one of them does.
PRODUCT = [
    (name, cell, strategy)
    for name in TABLE
    for cell in CELLS
    for strategy in STRATEGIES
    if strategy != "associative" or cell in ("lru", "user")
]


def in_turn(name, cell, strategy):
    """The user's cell and one other meet a transformation, each under one strategy."""
    turn, place = list(TABLE).index(name), list(CELLS).index(cell)
    meets = cell == "user" or turn % 4 == place
    strategies = [s for s in STRATEGIES if (name, cell, s) in PRODUCT]
    return meets and strategies[(turn + place // 2) % len(strategies)] == strategy


def compared(name, cell, strategy):
    got = TABLE[name](ours(CELLS[cell], STRATEGIES[strategy]), *given(CELLS[cell]))
    close(got, wanted(name, cell), TOLERANCE.get(name, 2e-5))


@pytest.mark.parametrize(("name", "cell", "strategy"), [row for row in PRODUCT if in_turn(*row)])
def test_transformed_as_a_plain_scan(name, cell, strategy):
    compared(name, cell, strategy)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "cell", "strategy"), [row for row in PRODUCT if not in_turn(*row)]
)
def test_transformed_as_a_plain_scan_the_rest(name, cell, strategy):
    compared(name, cell, strategy)


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", [f.__name__ for f in TABLE.values() if f in UNCHANGED])
def test_the_table_is_right(name, cell):
    """What should change nothing does not change a plain scan; the others are compared with one."""
    close(transformed(name, cell), bare(cell))


@pytest.mark.parametrize("strategy", NEWTON)
@pytest.mark.parametrize("cell", ["lstm", "user"])
def test_few_steps_under_newton(cell, strategy):
    for name in ("no_steps", "one_step"):
        got = TABLE[name](ours(CELLS[cell], NEWTON[strategy]), *given(CELLS[cell]))
        close(got, wanted(name, cell), 1e-4)


@pytest.mark.parametrize("strategy", [*STRATEGIES.values(), rnn.Newton()], ids=repr)
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_no_steps_without_jit(cell, strategy):
    """A plain scan refuses it (see `REFUSED`); here the types of outputs are known."""
    params, xs = given(cell)
    with jax.disable_jit():
        (state, ys), (dparams, dxs) = both(ours(cell, strategy))(params, xs[:0])
    close(state, cell.initial_state(params, (BATCH,)))
    assert (ys.shape[0], dxs.shape) == (0, (0, BATCH, FEATURES))
    # The initial state is not made of the params here, so nothing depends on them.
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(dparams))


# Errors, as a plain scan raises them


def runs(cell):
    """By name: a plain scan, and `unroll` under each strategy."""
    return {"plain": plain(cell)} | {
        name: ours(cell, strategy) for name, strategy in STRATEGIES.items()
    }


EVERY = ["plain", *STRATEGIES]


@pytest.mark.parametrize("run", first(2, EVERY))
@pytest.mark.parametrize(
    "cell", [Log(3), rnn.Stack((rnn.Elman(2), Log(3)))], ids=["alone", "stack"]
)
def test_a_nan_made_in_a_step_is_found(cell, run):
    params, xs = given(cell)
    f = runs(cell)[run]
    assert np.isnan(f(params, xs)[1]).any()
    slope = jax.grad(lambda params: total(f(params, xs)))
    with jax.debug_nans(True):
        for attempt in (jax.jit(f), f, jax.jit(lambda params, xs: slope(params))):
            with pytest.raises(FloatingPointError, match="nan"):
                attempt(params, xs)


@pytest.mark.parametrize("run", EVERY)
def test_a_nan_of_the_derivative_alone_is_found(run):
    cell = Root(3)
    params, xs = given(cell)
    f = runs(cell)[run]
    slope = jax.grad(lambda params: total(f(params, xs)))
    with jax.debug_nans(True):
        assert np.isfinite(jax.jit(f)(params, xs)[1]).all()
        for attempt in (jax.jit(slope), slope):
            with pytest.raises(FloatingPointError, match="nan"):
                attempt(params)


@pytest.mark.parametrize("run", EVERY)
def test_a_check_in_a_step(run):
    cell = Checked(3)
    params, xs = given(cell)
    f = runs(cell)[run]
    high = xs.at[4].add(1e3)
    for function in (f, both(f)):
        checking = jax.jit(checkify.checkify(function, errors=checkify.user_checks))
        error, made = checking(params, xs)
        error.throw()
        close(made, function_of_the_unchecked(function is f, params, xs))
        with pytest.raises(checkify.JaxRuntimeError, match="too large"):
            checking(params, high)[0].throw()


def function_of_the_unchecked(forward, params, xs):
    run = plain(Gated(3))
    return run(params, xs) if forward else both(run)(params, xs)


@pytest.mark.parametrize("run", EVERY)
def test_float_checks_find_a_nan(run):
    cell = Log(3)
    params, xs = given(cell)
    f = runs(cell)[run]
    error, _ = jax.jit(checkify.checkify(f, errors=checkify.float_checks))(params, xs)
    with pytest.raises(checkify.JaxRuntimeError, match="nan generated by primitive: log"):
        error.throw()


# What JAX cannot do to a plain scan


def zero_length_without_jit():
    with jax.disable_jit():
        jax.lax.scan(lambda s, x: (s + x, s), jnp.float32(0), jnp.zeros(0))


@pytest.mark.parametrize("strategy", ["scan", "associative"])
def test_index_checks_pass(strategy):
    """All but `Chunked`, which slices its inputs within a checkpoint (see `REFUSED`)."""
    params, xs = given(CELLS["user"])
    run = both(ours(CELLS["user"], STRATEGIES[strategy]))
    error, _ = jax.jit(checkify.checkify(run, errors=checkify.index_checks))(params, xs)
    error.throw()


def index_checks_within_checkpoint():
    """`Chunked` slices its inputs within one."""
    f = jax.checkpoint(lambda xs, i: jax.lax.dynamic_slice_in_dim(xs, i, 2).sum())
    checkify.checkify(f, errors=checkify.index_checks)(jnp.ones(5), 1)


REFUSED = {
    "index checks within checkpoint": (
        index_checks_within_checkpoint,
        ValueError,
        "the checks close over constants, and the rule of checkpoint takes none",
    ),
    "disable_jit at T=0": (
        zero_length_without_jit,
        ValueError,
        "the types of outputs are found by running a step",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_plain_scan_cannot_either(what):
    """When JAX learns one of these, it belongs in the table."""
    attempt, error, _ = REFUSED[what]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error):
            attempt()
