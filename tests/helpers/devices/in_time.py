"""Time cut over devices, against `Scan` on one."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

import jaxrnn as rnn
from helpers.devices.cases import answer, case, compare, grid, jitted, on_one, put
from helpers.programs import collectives

STEPS, BATCH = 16, 4


def over_time(cell, controlled, shape=(8,), fallback=None):
    """Outputs, last state and gradients of a run whose steps lie on several devices."""
    strategy = rnn.Associative(axis="t", fallback=fallback)
    given = case(cell, strategy=strategy, controlled=controlled, steps=STEPS, batch=BATCH)
    want = on_one(case(cell, controlled=controlled, steps=STEPS, batch=BATCH))
    mesh = grid(*shape, names=("t", "b"))
    spec = P("t", *mesh.axis_names[1:])
    xs, controls = put((given.xs, given.controls), mesh, spec)
    with jax.set_mesh(mesh):
        got = jitted(answer(given))(put(given.params, mesh, P()), xs, None, controls)
    assert got[0][1].sharding.spec[0] == "t", "the outputs' time is not cut"
    compare(got, want)


def mapped_scan(kind, reverse):
    """`linear_scan` within a `shard_map` of one's own: values, derivatives, and a NaN that is
    forgotten in another piece."""
    draw = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(draw.standard_normal(shape), jnp.float32)

    a = {"matrix": rnn.Matrix(normal(STEPS, BATCH, 2, 2) / 2), "stays": normal(2) / 2}[kind]
    b, start = normal(STEPS, BATCH, 2), normal(BATCH, 2)
    mask = jnp.asarray(draw.random((STEPS, BATCH)) < 0.8)
    mask = mask.at[:, 0].set(True)
    resets = jnp.asarray(draw.random((STEPS, BATCH)) < 0.1) & mask
    resets = resets.at[jnp.array([2, 13]), 0].set(True)
    timed = P("t") if kind == "matrix" else P()
    mesh = grid(8, names=("t",))

    def mapped(a, b, start):
        return jax.shard_map(
            lambda a, b, start, mask, resets: rnn.linear_scan(
                a, b, start, mask=mask, resets=resets, reverse=reverse, axis="t"
            ),
            mesh=mesh,
            in_specs=(timed, P("t"), P(), P("t"), P("t")),
            out_specs=(P(), P("t")),
        )(a, b, start, mask, resets)

    def plain(a, b, start):
        return rnn.linear_scan(a, b, start, mask=mask, resets=resets, reverse=reverse)

    def all_of(f):
        def loss(*args):
            return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(f(*args)))

        moved = jax.tree.map(jnp.cos, (a, b, start))
        both = jax.value_and_grad(loss, (0, 1, 2))
        hurt = b.at[7].set(jnp.nan)
        return jitted(lambda *args: (f(*args), jax.jvp(both, args, moved), f(a, hurt, start)))

    got, want = (all_of(f)(a, b, start) for f in (mapped, plain))
    compare(got[:2], want[:2])
    lost = [np.isnan(x) for x in (got[2][1], want[2][1])]
    assert np.array_equal(*lost), "other steps are NaN"
    assert lost[0].any(), "no step is NaN"
    assert not lost[0][0 if reverse else -1].all(), "no row has forgotten it"


def transformed():
    """`vmap` of a gradient, and the derivative of one, with chunks around."""
    cell, mesh = rnn.LRU(4), grid(8, names=("t",))
    params = cell.init(jax.random.key(0), 3)
    xs = jax.random.normal(jax.random.key(1), (2, 2 * STEPS, BATCH, 3))

    def both(strategy):
        def loss(xs):
            return jnp.sin(rnn.unroll(cell, params, xs, strategy=strategy)[1]).sum()

        slope = jax.grad(loss)
        return jitted(
            lambda xs: (jax.vmap(slope)(xs), jax.jvp(slope, (xs[0],), (jnp.cos(xs[0]),))[1])
        )(xs)

    with jax.set_mesh(mesh):
        got = both(rnn.Chunked(STEPS, inner=rnn.Associative(axis="t")))
    compare(got, both(rnn.Scan()))


UNITS, WIDE, ROWS, LOCAL = 16, 8, 4, 37  # 37 divides no other axis


def counted(pieces):
    """What is sent, on `pieces * 37` steps of each device: (forward, gradient)."""
    cell = rnn.LRU(UNITS)
    mesh = grid(8, names=("t",))
    params = put(cell.init(jax.random.key(0), WIDE), mesh, P())
    xs = put(jnp.ones((8 * LOCAL * pieces, ROWS, WIDE)), mesh, P("t"))

    def forward(params, xs):
        return rnn.unroll(cell, params, xs, strategy=rnn.Associative(axis="t"))

    def loss(params, xs):
        return jnp.sin(forward(params, xs)[1]).sum()

    with jax.set_mesh(mesh):
        return [
            collectives(jax.jit(f).lower(params, xs).compile().as_text())
            for f in (forward, jax.grad(loss))
        ]


def sent():
    """As many bytes as the docstring of `Associative` says, for any T, and not in a loop."""
    for found, twice in zip(counted(1), counted(2), strict=True):
        assert not [c for c in found if c.spans(LOCAL)], f"an axis of steps is sent: {found}"
        assert not [c for c in found if c.loop], f"devices talk at every step: {found}"
        assert sum(c.bytes for c in found) == sum(c.bytes for c in twice)
    forward, gradient = counted(1)
    received = 16 * 8 * ROWS * UNITS
    gathers = sum(c.bytes for c in forward if c.kind == "all-gather")
    assert gathers == received, f"{gathers} bytes are gathered, need {received}"
    back = sum(c.bytes for c in gradient if c.kind != "all-reduce")
    assert back <= 2 * received, f"{back} bytes for the gradient, beside sums over devices"


DEEP = rnn.Stack(
    (
        rnn.LRU(4, r_max=0.9),
        rnn.Dense(3),
        rnn.Bidirectional(rnn.MinGRU(3)),
        rnn.CausalConv(3, 3),
        rnn.Residual(rnn.MinLSTM(3)),
    )
)
TIMED = {
    "lru": functools.partial(over_time, rnn.LRU(4, r_max=0.9), False),
    "deep, mask and resets, batch too": functools.partial(over_time, DEEP, True, (4, 2)),
    "a gru beside it": functools.partial(
        over_time, rnn.Stack((rnn.GRU(3), rnn.S6(2))), True, (4, 2), rnn.Scan()
    ),
    "s5": functools.partial(over_time, rnn.S5(4), True),
    "rg-lru": functools.partial(over_time, rnn.RGLRU(), True),
    "linear_scan, matrices": functools.partial(mapped_scan, "matrix", False),
    "linear_scan, reversed": functools.partial(mapped_scan, "stays", True),
    "vmap and a second derivative": transformed,
    "bytes sent": sent,
}
