"""What a step may do with `dot`: all that JAX may do in a plain `lax.scan`, and no wrong number.

Every step here is run twice, with `dot` by the library and, with a plain `@` in its place, by a
`lax.scan` of this file, which is the truth.
"""

import collections
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.tables import first
from jaxrnn.testing.inputs import options

STEPS, BATCH, FEATURES, UNITS = 5, 2, 2, 3


def frozen(**params):
    return pytest.importorskip("flax.core").FrozenDict(params)


def weights(shapes):
    draw = np.random.default_rng(0)
    return {
        name: jnp.asarray(0.5 * draw.standard_normal(s), jnp.float32) for name, s in shapes.items()
    }


SHAPES = {
    "w_x": (FEATURES, UNITS),
    "w_h": (UNITS, UNITS),
    "w_n": (UNITS, UNITS),
    "wide": (UNITS, 2 * UNITS),
    "b": (UNITS,),
    "c": (2 * UNITS,),
}


class Any_(rnn.Cell):
    """A cell of any step: `does(params, state, z, dot)`."""

    does: Any
    complex: bool = False

    def init(self, key, x):
        return weights(SHAPES)

    def initial_state(self, params, batch_shape=()):
        dtype = jnp.complex64 if self.complex else jnp.float32
        return jnp.zeros((*batch_shape, UNITS), dtype)

    def project(self, params, xs, noise=None):
        return xs @ params["w_x"]

    def step(self, params, state, z, dot):
        return self.does(params, state, z, dot)

    def readout(self, params, state, z):
        return state.real if self.complex else state


class Textbook:
    """`dot` as arithmetic: what `lax.scan` differentiates by itself."""

    def __init__(self, params):
        self.params = params

    def __call__(self, x, name, *cuts):
        w = name if isinstance(name, jax.Array) else self.params[name]
        return jnp.split(x @ w, cuts, -1) if cuts else x @ w

    def add(self, z, name, start=0):
        return z + self.params[name][start : start + z.shape[-1]]


def plain(does, complex=False):
    """`run(params, xs, state) -> (state, ys)` over `lax.scan`, with no line of the library."""

    def run(params, xs, state):
        def step(state, z):
            state = does(params, state, z, Textbook(params))
            return state, state.real if complex else state

        return jax.lax.scan(step, state, xs @ params["w_x"])

    return run


def ours(does, strategy=None, complex=False):
    cell = Any_(does, complex)
    return lambda params, xs, state: rnn.unroll(
        cell, params, xs, state=state, strategy=strategy or rnn.Scan()
    )


def given(complex=False):
    draw = np.random.default_rng(1)
    xs = jnp.asarray(draw.standard_normal((STEPS, BATCH, FEATURES)), jnp.float32)
    state = jnp.asarray(draw.standard_normal((BATCH, UNITS)), jnp.float32)
    state = jax.lax.complex(state, -state) if complex else state
    return weights(SHAPES), xs, state


def total(tree):
    leaves = jax.tree.leaves(tree)
    leaves = [part for a in leaves for part in ((a.real, a.imag) if jnp.iscomplexobj(a) else (a,))]
    return sum(jnp.sum(jnp.sin(1.3 * leaf + 0.7)) for leaf in leaves)


def close(got, want, tolerance=2e-5):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(want), strict=True
    ):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype), jax.tree_util.keystr(path)
        size = max(np.abs(b).max(initial=0), 1e-2)
        np.testing.assert_allclose(
            a / size, b / size, rtol=0, atol=tolerance, err_msg=jax.tree_util.keystr(path)
        )


def both(run):
    """Values, and the gradient in params, inputs and the initial state."""

    def f(params, xs, state):
        return run(params, xs, state), jax.grad(lambda *args: total(run(*args)), (0, 1, 2))(
            params, xs, state
        )

    return jax.jit(f, compiler_options=options())


def derivatives(run):
    """Values, the gradient, a tangent, and the gradient of the gradient along it."""

    def f(*args):
        slope = jax.grad(lambda *args: total(run(*args)), (0, 1, 2))
        along = jax.tree.map(
            lambda a: jnp.cos(jnp.arange(a.size, dtype=a.dtype)).reshape(a.shape), args
        )
        value, tangent = jax.jvp(run, args, along)
        product = jax.grad(
            lambda *args: sum(map(jnp.vdot, *map(jax.tree.leaves, (slope(*args), along)))),
            (0, 1, 2),
        )
        return value, tangent, slope(*args), product(*args)

    return jax.jit(f, compiler_options=options())


# What a step may do


def fori(params, s, z, dot):
    z = dot.add(z, "b")
    return jax.lax.fori_loop(0, 2, lambda i, s: jnp.tanh(z + dot(s, "w_h")), s)


def cond(params, s, z, dot):
    z = dot.add(z, "b")
    return jax.lax.cond(
        z.sum() > 0, lambda s: jnp.tanh(z + dot(s, "w_h")), lambda s: jnp.sin(z - dot(s, "w_n")), s
    )


def cond_of_one(params, s, z, dot):
    """The product of one branch only, and of a bias."""
    return jax.lax.cond(
        z.sum() > 0, lambda s: jnp.tanh(dot.add(z, "b") + dot(s, "w_h")), lambda s: 0.5 * s, s
    )


def jitted(params, s, z, dot):
    return jax.jit(lambda s, z: jnp.tanh(dot.add(z, "b") + dot(s, "w_h")))(s, z)


def rematerialised(params, s, z, dot):
    return jax.checkpoint(lambda s, z: jnp.tanh(dot.add(z, "b") + dot(s, "w_h")))(s, z)


def scanned(params, s, z, dot):
    def inner(s, scale):
        s = jnp.tanh(dot.add(z, "b") + scale * dot(s, "w_h"))
        return s, dot(s, "w_n")

    s, ys = jax.lax.scan(inner, s, jnp.array([1.0, 0.5]))
    return s + ys.sum(0)


def mapped(params, s, z, dot):
    return jnp.tanh(jax.vmap(lambda s, z: dot.add(z, "b") + dot(s, "w_h"))(s, z))


def mapped_again(params, s, z, dot):
    """A product with an axis that neither the params nor the state has."""
    scaled = jnp.stack([s, 0.5 * s])
    return jnp.tanh(z + jax.vmap(lambda s: dot(s, "w_h"))(scaled).sum(0))


def while_of_cond(params, s, z, dot):
    def body(i, s):
        return jax.lax.cond(
            i > 0, lambda s: jnp.tanh(z + dot(s, "w_h")), lambda s: dot.add(s, "b"), s
        )

    return jax.lax.fori_loop(0, 2, body, s)


def of_an_array(params, s, z, dot):
    return jnp.tanh(dot.add(z, "b") + dot(s, jnp.abs(params["w_h"])))


# What could be taken for something else


def twice(params, s, z, dot):
    return jnp.tanh(dot(jnp.tanh(z + dot(s, "w_h")), "w_h"))


def dot_and_at(params, s, z, dot):
    return jnp.tanh(z + dot(s, "w_h") + (s * s) @ params["w_h"])


def in_blocks(params, s, z, dot):
    a, b = dot(s, "wide", UNITS)
    return jnp.tanh(dot.add(z, "b") + a) * jax.nn.sigmoid(b)


def in_uneven_blocks(params, s, z, dot):
    a, b, c = dot(s, "wide", 1, UNITS + 1)
    return jnp.tanh(z + b) * jnp.cos(a) + c.sum(-1, keepdims=True)


def sum_of_two(params, s, z, dot):
    return jnp.tanh(z + dot(s, "w_h") + dot(jnp.sin(s), "w_n"))


def difference(params, s, z, dot):
    return jnp.tanh(z - dot(s, "w_h") + dot(s, "w_n"))


def one_sum_in_two_places(params, s, z, dot):
    y = dot(s, "w_h")
    return jnp.tanh(z + y) + jnp.cos(y)


def bias_twice(params, s, z, dot):
    return jnp.tanh(dot.add(dot.add(z, "b") + dot(s, "w_h"), "b")) * jnp.sin(dot.add(s, "b"))


def bias_by_hand_too(params, s, z, dot):
    return jnp.tanh(dot.add(z, "b") + dot(s, "w_h")) + params["b"] * s


def bias_in_columns(params, s, z, dot):
    return jnp.tanh(dot.add(z, "c", 1) + dot(s, "w_h")) * dot.add(s, "c", UNITS)


def z_outside_too(params, s, z, dot):
    return jnp.tanh(z + dot(s, "w_h")) * z


def z_twice(params, s, z, dot):
    return jnp.tanh(z + dot(s, "w_h")) + jnp.sin(z + dot(s, "w_n"))


def z_to_itself(params, s, z, dot):
    return jnp.tanh(z + (z + dot(s, "w_h")))


def product_to_itself(params, s, z, dot):
    y = dot(s, "w_h")
    return jnp.tanh(z + y + y)


def of_a_product(params, s, z, dot):
    return jnp.tanh(z + dot(dot(s, "w_h"), "w_n"))


def product_of_products(params, s, z, dot):
    return jnp.tanh(z) + 0.1 * dot(s, "w_h") * dot(s, "w_n")


def of_a_constant(params, s, z, dot):
    return jnp.tanh(z + dot(jnp.full_like(s, 0.3), "w_h") + s)


def of_z(params, s, z, dot):
    return jnp.tanh(s + dot(z, "w_h"))


def unused(params, s, z, dot):
    dot(s, "w_n")
    return jnp.tanh(dot.add(z, "b") + dot(s, "w_h"))


def unused_block(params, s, z, dot):
    a, _ = dot(s, "wide", UNITS)
    return jnp.tanh(z + a)


def nothing_used(params, s, z, dot):
    dot(s, "w_h")
    return jnp.tanh(s + z)


def reset_before(params, s, z, dot):
    u, r = jnp.split(jax.nn.sigmoid(dot(s, "wide")), 2, -1)
    return (1 - u) * s + u * jnp.tanh(dot.add(z, "b") + dot(r * s, "w_n"))


def leaky(params, s, z, dot):
    return 0.7 * s + 0.3 * (dot.add(dot(s, "w_h"), "b")) + z


def stopped(params, s, z, dot):
    return jnp.tanh(z + jax.lax.stop_gradient(dot(s, "w_h")) + dot(s, "w_n"))


def of_a_stopped(params, s, z, dot):
    return jnp.tanh(z + dot(jax.lax.stop_gradient(s), "w_h") + 0.5 * s)


def broadcast(params, s, z, dot):
    """One row's product for all rows, and a bias on what has a row only."""
    return jnp.tanh(z + dot(s[:1], "w_h") + dot.add(s[:1], "b"))


def reordered(params, s, z, dot):
    return jnp.tanh((dot(s, "w_h") + z[..., ::-1])[..., ::-1] + s)


MAY = [
    fori,
    cond,
    cond_of_one,
    jitted,
    rematerialised,
    scanned,
    mapped,
    mapped_again,
    while_of_cond,
    of_an_array,
]
ODD = [
    # products
    *(twice, dot_and_at, in_blocks, in_uneven_blocks, sum_of_two, difference),
    *(one_sum_in_two_places, product_to_itself, of_a_product, product_of_products),
    *(of_a_constant, of_z, broadcast, reordered, reset_before, leaky),
    # biases and z
    *(bias_twice, bias_by_hand_too, bias_in_columns, z_outside_too, z_twice, z_to_itself),
    # nothing
    *(unused, unused_block, nothing_used, stopped, of_a_stopped),
]


def named(f):
    return f.__name__


@functools.cache
def truth(does):
    return derivatives(plain(does))(*given())


# Every other one of them; the slow tests run all, under every strategy.
@pytest.mark.parametrize("does", [*MAY, *ODD[::2]], ids=named)
def test_no_wrong_number(does):
    """Values, gradient, a tangent and a Hessian's product, in params, inputs and first state."""
    close(derivatives(ours(does))(*given()), truth(does))


CUT = {"scan": rnn.Scan(), "unrolled": rnn.Scan(unroll=2), "chunked": rnn.Chunked(2)}
NEWTON = {"newton": rnn.Newton(), "newton in pieces": rnn.Chunked(3, inner=rnn.Newton())}
# Newton runs a step for every row alone, so these, which look at several, are none of its steps.
ROWS = {cond, cond_of_one, mapped, broadcast}
# Each meets one strategy that cuts time and one of Newton's, in turn.
BY = [
    (f, list(names)[turn % len(names)])
    for names, left_out in ((CUT, set()), (NEWTON, ROWS))
    for turn, f in enumerate(f for f in MAY + ODD if f not in left_out)
]


@pytest.mark.slow
@pytest.mark.parametrize(("does", "strategy"), BY, ids=lambda part: getattr(part, "__name__", part))
def test_no_wrong_number_by_strategies(does, strategy):
    close(derivatives(ours(does, (CUT | NEWTON)[strategy]))(*given()), truth(does), 1e-4)


@pytest.mark.parametrize("wrong", [lambda p, s, z, dot: twice(p, s, z, dot) + 1e-3 * dot(s, "w_n")])
def test_a_wrong_number_is_seen(wrong):
    got, want = derivatives(ours(wrong))(*given()), truth(twice)
    for part, whole in zip(got, want, strict=True):
        with pytest.raises(AssertionError):
            close(part, whole)


# Params of any kind


class Pair(NamedTuple):
    w_x: Any
    w_h: Any


@jax.tree_util.register_pytree_with_keys_class
class Own:
    """A user's pytree, whose keys in JAX are attributes and whose parts are had by indexing."""

    def __init__(self, w_x, w_h):
        self.parts = {"w_x": w_x, "w_h": w_h}

    def __getitem__(self, name):
        return self.parts[name]

    def tree_flatten_with_keys(self):
        return [(jax.tree_util.GetAttrKey(f"_{name}"), a) for name, a in self.parts.items()], None

    @classmethod
    def tree_unflatten(cls, _, parts):
        return cls(*parts)


class State(collections.abc.MutableMapping):
    """A mapping that is a pytree, as `nnx.State` is: keys that are strings, in order."""

    def __init__(self, parts):
        self._parts = dict(parts)

    def __getitem__(self, name):
        return self._parts[name]

    def __setitem__(self, name, value):
        self._parts[name] = value

    def __delitem__(self, name):
        del self._parts[name]

    def __iter__(self):
        return iter(self._parts)

    def __len__(self):
        return len(self._parts)


jax.tree_util.register_pytree_with_keys(
    State,
    lambda s: ([(jax.tree_util.DictKey(k), s[k]) for k in sorted(s)], tuple(sorted(s))),
    lambda names, parts: State(zip(names, parts, strict=True)),
)

# How the two weights are held; the key of the first, and what `dot` is told of the second.
KINDS = {
    "dict": (lambda x, h: {"w_x": x, "w_h": h}, "w_x", "w_h"),
    "tuple": (lambda x, h: (x, h), 0, 1),
    "tuple from its end": (lambda x, h: (x, h), -2, -1),
    "list": (lambda x, h: [x, h], 0, 1),
    "named tuple": (Pair, 0, 1),
    "ordered dict": (lambda x, h: collections.OrderedDict(w_x=x, w_h=h), "w_x", "w_h"),
    "default dict": (lambda x, h: collections.defaultdict(list, w_x=x, w_h=h), "w_x", "w_h"),
    "frozen dict": (lambda x, h: frozen(w_x=x, w_h=h), "w_x", "w_h"),
    "mapping": (lambda x, h: State({"w_x": x, "w_h": h}), "w_x", "w_h"),
    "a user's own": (Own, "w_x", "w_h"),
    "numbers for keys": (lambda x, h: {0: x, 1: h}, 0, 1),
}


class Holding(rnn.Cell):
    """A simple recurrent network with its weights in any kind of pytree."""

    kind: str

    def init(self, key, x):
        made, *_ = KINDS[self.kind]
        both = weights({"w_x": (FEATURES, UNITS), "w_h": (UNITS, UNITS)})
        return made(both["w_x"], both["w_h"])

    def initial_state(self, params, batch_shape=()):
        return jnp.zeros((*batch_shape, UNITS))

    def project(self, params, xs, noise=None):
        return rnn.matmul(xs, params[KINDS[self.kind][1]])

    def step(self, params, state, z, dot):
        return jnp.tanh(z + dot(state, KINDS[self.kind][2]))

    def readout(self, params, state, z):
        return state


def over_advance(cell):
    def run(params, xs):
        return jax.lax.scan(
            lambda s, x: rnn.advance(cell, params, s, x), cell.initial_state(params, (BATCH,)), xs
        )

    return run


@pytest.mark.parametrize("strategy", first(1, [rnn.Scan(), rnn.Chunked(2), rnn.Newton()]), ids=repr)
@pytest.mark.parametrize("kind", KINDS)
def test_params_of_any_kind(kind, strategy):
    """No weight's gradient is silently zero."""
    cell = Holding(kind)
    params, (_, xs, _) = cell.init(jax.random.key(0), rnn.features(FEATURES)), given()

    def slopes(run):
        return jax.jit(jax.grad(lambda params: total(run(params, xs))))(params)

    want = slopes(over_advance(cell))
    assert all(jnp.abs(leaf).max() > 1e-2 for leaf in jax.tree.leaves(want))
    close(slopes(lambda params, xs: rnn.unroll(cell, params, xs, strategy=strategy)), want)


class Nested(rnn.Cell):
    """Weights some levels down, by `dot[...]`."""

    def init(self, key, x):
        both = weights({"w_x": (FEATURES, UNITS), "w_h": (UNITS, UNITS), "b": (UNITS,)})
        return {
            "in": (both["w_x"],),
            "deep": [{"w": both["w_h"]}, Pair(both["b"], both["w_h"] / 2)],
        }

    def initial_state(self, params, batch_shape=()):
        return jnp.zeros((*batch_shape, UNITS))

    def project(self, params, xs, noise=None):
        return rnn.matmul(xs, params["in"][0])

    def step(self, params, state, z, dot):
        deep = dot["deep"]
        return jnp.tanh(deep[-1].add(z, 0) + deep[0](state, "w") + deep[1](state, -1))

    def readout(self, params, state, z):
        return state


def test_params_some_levels_down():
    cell = Nested()
    params, (_, xs, _) = cell.init(jax.random.key(0), rnn.features(FEATURES)), given()
    run = functools.partial(rnn.unroll, cell)
    got, want = (
        jax.grad(lambda p, f=f: total(f(p, xs)))(params) for f in (run, over_advance(cell))
    )
    close(got, want)


# Errors


def step_error(does, kind=(KeyError, ValueError, TypeError)):
    """The message of what a step raises, which is the same in a gradient."""
    params, xs, state = given()
    said = []
    for f in (ours(does), both(ours(does))):
        with pytest.raises(kind) as caught:
            f(params, xs, state)
        said.append(str(caught.value.args[0]))
    assert said[0] == said[1]
    return said[0]


def test_a_misspelt_key():
    said = step_error(lambda p, s, z, dot: jnp.tanh(z + dot(s, "w_hh")), (KeyError, ValueError))
    assert "w_hh" in said
    assert all(name in said for name in SHAPES), "the keys that there are"
    assert "need" in said
    assert len(said.splitlines()) <= 3


def test_a_misspelt_bias():
    said = step_error(
        lambda p, s, z, dot: jnp.tanh(dot.add(z, "bias") + dot(s, "w_h")), (KeyError, ValueError)
    )
    assert "bias" in said
    assert all(name in said for name in SHAPES)


def test_a_vector_for_a_matrix():
    said = step_error(lambda p, s, z, dot: jnp.tanh(z + dot(s, "b")))
    assert "'b'" in said
    assert "dot.add" in said, "what to do"


def test_a_matrix_for_a_vector():
    said = step_error(lambda p, s, z, dot: jnp.tanh(dot.add(z, "w_h")))
    assert "'w_h'" in said


@pytest.mark.parametrize(
    "does",
    [
        lambda p, s, z, dot: jnp.tanh(z + dot(dot(s, "wide"), "w_h")),
        lambda p, s, z, dot: jnp.tanh(z + dot(s[..., :2], "w_h")),
    ],
    ids=["too wide", "too narrow"],
)
def test_an_input_of_another_width(does):
    said = step_error(does, (ValueError, TypeError))
    assert "'w_h'" in said
    assert f"({UNITS}, {UNITS})" in said or f"[{UNITS}, {UNITS}]" in said, "the shape that there is"


@pytest.mark.parametrize("cut", [0, -1, 2 * UNITS, 2 * UNITS + 3])
def test_a_cut_outside_the_columns(cut):
    """Slices would clamp it, and a block would be empty."""
    said = step_error(
        lambda p, s, z, dot: z + dot(s, "wide", cut)[0][..., :1], (ValueError, TypeError)
    )
    assert "'wide'" in said


def test_a_bias_past_its_columns():
    said = step_error(
        lambda p, s, z, dot: jnp.tanh(dot.add(z, "c", UNITS + 1) + s), (ValueError, TypeError)
    )
    assert "'c'" in said


# A complex state


def turning(params, s, z, dot):
    """A rotation, and a product of the real part."""
    return jax.lax.complex(jnp.tanh(z + dot(s.real, "w_h")), 0.5 * s.imag + dot(s.imag, "w_n"))


@pytest.mark.parametrize("strategy", [rnn.Scan(), rnn.Chunked(2)], ids=repr)
def test_a_complex_state(strategy):
    args = given(complex=True)
    close(
        both(ours(turning, strategy, complex=True))(*args),
        both(plain(turning, complex=True))(*args),
    )


# Seeing into a step


def printing(params, s, z, dot):
    s = jnp.tanh(z + dot(s, "w_h"))
    jax.debug.print("at {x:.4f}", x=s[0, 0])
    return s


def printing_in_order(params, s, z, dot):
    s = jnp.tanh(z + dot(s, "w_h"))
    jax.debug.print("at {x:.4f}", x=s[0, 0], ordered=True)
    return s


SEEN = []


def calling_back(params, s, z, dot):
    s = jnp.tanh(z + dot(s, "w_h"))
    jax.debug.callback(lambda x: SEEN.append(float(x)), s[0, 0])
    return s


def silent(params, s, z, dot):
    return jnp.tanh(z + dot(s, "w_h"))


@pytest.mark.parametrize("strategy", [rnn.Scan(), rnn.Chunked(2)], ids=repr)
@pytest.mark.parametrize("does", [printing, printing_in_order, calling_back], ids=named)
def test_what_a_step_shows(does, strategy, capfd):
    """Each step's number, forward and in a gradient, in order if ordered; the values stay."""
    args = given()
    want = [float(x) for x in plain(silent)(*args)[1][:, 0, 0]]
    for make in (jax.jit, both):
        SEEN.clear()
        capfd.readouterr()
        got = make(ours(does, strategy))(*args)
        jax.effects_barrier()
        lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("at ")]
        shown = SEEN if does is calling_back else [float(line[3:]) for line in lines]
        assert {round(x, 3) for x in shown} == {round(x, 3) for x in want}
        if does is printing_in_order and make is jax.jit:
            np.testing.assert_allclose(shown, want, atol=1e-4)
        close(got, make(plain(silent))(*args))


# What it costs


def test_a_leaky_unit_takes_no_more_than_a_plain_scan():
    steps, rows, units = 256, 32, 128

    def leak(params, s, z, dot):
        a = 0.3
        return (1 - a) * s + a * (dot(s, "w_h") + params["b"]) + z

    def held(run):
        spec = {"w_x": (units, units), "w_h": (units, units), "b": (units,)}
        params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in spec.items()}
        xs = jax.ShapeDtypeStruct((steps, rows, units), jnp.float32)
        state = jax.ShapeDtypeStruct((rows, units), jnp.float32)
        slope = jax.grad(lambda *args: jnp.sum(run(*args)[1] ** 2), (0, 1))
        return (
            jax.jit(slope).lower(params, xs, state).compile().memory_analysis().temp_size_in_bytes
        )

    cell = Leaky()
    got = held(lambda params, xs, state: rnn.unroll(cell, params, xs, state=state))
    want = held(plain(leak))
    assert got <= 1.02 * want, f"{got:,} bytes, a plain scan takes {want:,}"


class Leaky(rnn.Cell):
    """A leaky integrator of 128 units."""

    def init(self, key, x):
        return {"w_x": jnp.zeros((128, 128)), "w_h": jnp.zeros((128, 128)), "b": jnp.zeros(128)}

    def initial_state(self, params, batch_shape=()):
        return jnp.zeros((*batch_shape, 128))

    def project(self, params, xs, noise=None):
        return xs @ params["w_x"]

    def step(self, params, s, z, dot):
        a = 0.3
        return (1 - a) * s + a * (dot(s, "w_h") + params["b"]) + z

    def readout(self, params, state, z):
        return state


TRACED = []


class Counting(rnn.LSTM):
    """An LSTM that counts how often its step is traced."""

    def step(self, params, state, z, dot):
        TRACED.append(state)
        return super().step(params, state, z, dot)


def test_a_gradient_traces_a_step_twice_at_most():
    net = rnn.Stack((Counting(3), rnn.Dense(2)))
    params, xs = net.init(jax.random.key(0), rnn.features(FEATURES)), given()[1]
    TRACED.clear()
    jax.jit(jax.grad(lambda params: total(rnn.unroll(net, params, xs)))).trace(params)
    assert 1 <= len(TRACED) <= 2
