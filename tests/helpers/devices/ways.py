"""The ways to lay a run over devices: each raises where the numbers differ from those on one."""

import jax
import jax.numpy as jnp
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from helpers.devices.cases import (
    ROWS,
    Case,
    answer,
    compare,
    grid,
    jitted,
    on_one,
    put,
    said,
    slopes,
    total,
)
from helpers.programs import collectives


def batch_over_devices(case: Case):
    mesh = grid(8, 1)
    params, rows = put(case.params, mesh, P()), put((case.xs, case.controls), mesh, ROWS)
    compare(jitted(answer(case))(params, rows[0], None, rows[1]), on_one(case))


def columns(leaf) -> P:
    """The last axis cut over "m", that of gates or hidden units."""
    even = leaf.ndim and leaf.shape[-1] % 2 == 0
    return P(*[None] * (leaf.ndim - 1), "m") if even else P()


def weights_over_devices(case: Case):
    mesh = grid(4, 2)
    params, rows = put(case.params, mesh, columns), put((case.xs, case.controls), mesh, ROWS)
    assert any("m" in a.sharding.spec for a in jax.tree.leaves(params)), "no weight is cut"
    program = jitted(answer(case)).lower(params, rows[0], None, rows[1]).compile()
    compare(program(params, rows[0], None, rows[1]), on_one(case))
    # A product whose input and matrix are cut over one axis of the mesh needs the other part of its
    # input: every step its own, and the gradient of the matrix all steps', once, after the loop.
    steps = case.xs.shape[0]
    bad = [c for c in collectives(program.as_text()) if c.loop and c.spans(steps)]
    assert not bad, f"all steps are sent in every step: {bad}"


def explicit(case: Case, given: bool = False):
    """A mesh whose axes are in the types; the first state is the cell's own, or given, laid out."""
    want = on_one(case, case.first(case.params, case.xs.shape[1]) if given else None)
    mesh = jax.make_mesh((8,), ("b",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        params, rows = put(case.params, mesh, P()), put((case.xs, case.controls), mesh, ROWS)
        state = put(case.first(case.params, case.xs.shape[1]), mesh, P("b")) if given else None
        got = jitted(answer(case))(params, rows[0], state, rows[1])
        specs = [a.sharding.spec for a in jax.tree.leaves(got[0][1])]
    assert all("b" in spec for spec in specs), f"the outputs' batch axis is not cut: {specs}"
    compare(got, want)


def mapped(case: Case):
    """`shard_map` as it comes: forward, and the gradient in four ways."""
    mesh = grid(8)
    flags = jax.tree.map(lambda _: ROWS, case.controls)
    # Inputs of a batch axis come back cut, gradients of weights the same on every device.
    inputs = (P(), ROWS) if jnp.issubdtype(case.xs.dtype, jnp.floating) else (P(),)

    def loss(params, xs, controls):
        return total(case.run(params, xs, **controls))

    def smap(f, out):
        return jax.shard_map(f, mesh=mesh, in_specs=(P(), ROWS, flags), out_specs=out)

    def varying(tree):
        return jax.tree.map(lambda a: jax.lax.pcast(a, "b", to="varying"), tree)

    def forward(params, xs, controls):
        # The state's batch axis is its first, the outputs' their second.
        return smap(lambda p, x, c: case.run(p, x, **c), (P("b"), ROWS))(params, xs, controls)

    def inside(params, xs, controls):
        """The weights are the same everywhere, so their gradient is summed by JAX."""
        return smap(lambda p, x, c: slopes(lambda p, x: loss(p, x, c), p, x), inputs)(
            params, xs, controls
        )

    def summed_gradient(params, xs, controls):
        def local(p, x, c):
            first, *rest = slopes(lambda p, x: loss(p, x, c), varying(p), x)
            return jax.lax.psum(first, "b"), *rest

        return smap(local, inputs)(params, xs, controls)

    def summed_loss(params, xs, controls):
        def local(p, x, c):
            return slopes(lambda p, x: jax.lax.psum(loss(varying(p), x, c), "b"), p, x)

        return smap(local, inputs)(params, xs, controls)

    def around(params, xs, controls):
        whole = smap(lambda p, x, c: jax.lax.psum(loss(p, x, c), "b"), P())
        return slopes(lambda p, x: whole(p, x, controls), params, xs)

    ways = {f.__name__: f for f in (forward, inside, summed_gradient, summed_loss, around)}
    args = case.params, case.xs, case.controls
    wrong = {}
    for name, f in ways.items():
        try:
            jax.eval_shape(f, *args)
        except Exception as error:
            wrong[name] = said(error)
    fine = {name: f for name, f in ways.items() if name not in wrong}
    got = jitted(lambda *args: {name: f(*args) for name, f in fine.items()})(*args)
    ys, gradient = on_one(case)
    for name, value in got.items():
        try:
            compare(value, ys if name == "forward" else gradient)
        except AssertionError as error:
            wrong[name] = said(error)
    assert not wrong, str(wrong)
