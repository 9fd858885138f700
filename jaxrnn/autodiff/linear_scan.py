"""The linear recurrence `h_t = a_t h_{t-1} + b_t` and its derivative.

Its tangent is such a recurrence too, `dh_t = a_t dh_{t-1} + (db_t + da_t h_{t-1})`, and so is the
transpose of that, run the other way. As a `custom_jvp` over plain loops it costs one more
recurrence in every mode of differentiation, where `jax.grad` of `lax.associative_scan` keeps every
level of its tree.

`transitions.py` says what `a` may be, `linear_loops.py` has the loops, and `over_devices.py` puts
pieces together that lie on several devices.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jaxrnn import errors
from jaxrnn.autodiff.choose import choose
from jaxrnn.autodiff.linear_loops import Plan, longer, run, states_before, steps_of
from jaxrnn.autodiff.over_devices import first_before, over_devices
from jaxrnn.autodiff.platform import Call, by_platform
from jaxrnn.autodiff.transitions import (
    Matrix,
    check_recurrence,
    has_time_axis,
    map_transitions,
    multiply_all_steps,
)

RADIX = 16  # steps of a chunk on accelerators; on a CPU one loop is fastest
UNROLL = 4  # steps of an iteration of one loop there, where a step costs its launches
# Bytes: of an array that a CPU's caches hold in part at best, and of a step whose work outweighs
# that of a loop's step.
CACHE, ROW = 2**23, 512
# Bytes of a step's matrices that are work enough for a TPU by themselves.
MATRICES = 2**20


class Options(NamedTuple):
    """The static settings of a linear recurrence, as the caller chose them."""

    reverse: bool
    radix: int | None
    unroll: int
    axis: str | None = None  # of a mesh, over which time is cut
    tangent: bool = False  # it is a tangent: most often transposed, and so run the other way


def linear_scan(
    a: Any,
    b: Any,
    start: Any,
    *,
    mask: Any = None,
    resets: Any = None,
    reverse: bool = False,
    radix: int | None = None,
    unroll: int = 1,
    axis: str | None = None,
) -> tuple[Any, Any]:
    """`h_t = a_t h_{t-1} + b_t` for all t: the last state and all states, `(h_T, [h_1 ... h_T])`.

    Where `mask[t]` is false, `h_t = h_{t-1}`; elsewhere, where `resets[t]` is true, `h_t = b_t`.
    Every mode of differentiation is again such a recurrence.

    Shapes: b `[T, ...]` leaf by leaf, start `[...]`, mask and resets `[T, ...]` of the batch axes
    alone. A transition of fewer axes than its part of b holds for every step and is broadcast.

    Args:
      a: a tree like `start` with a transition in the place of each part: an array, a `Complex` or
        a `Matrix`.
      b: what is added.
      start: the state before the first step; reversed, after the last.
      mask: booleans, true where the step is valid, or None.
      resets: booleans, true where the state is forgotten before the step, or None.
      reverse: from T-1 to 0; `b_t` and the states keep their places.
      radix: 0 for one loop of T steps. Otherwise time is cut into chunks of that many steps, all
        run side by side: first their ends from zero, then the recurrence of the ends by the same
        rule, then the chunks from their starts. This takes 3 radix log T / log radix steps and
        about three times the work; of matrices `[N, N]`, N times, since they are multiplied with
        each other. By default 0 where the program runs on a CPU, or on a TPU where matrices take a
        megabyte a step or more, and 16 elsewhere.
      unroll: the unrolling of the one loop, as in `lax.scan`; at least 4 on a GPU.
      axis: within `jax.shard_map`, the axis of the mesh over which time is cut: each device holds
        T / n steps of a, b, mask and resets, one piece after another, and all of `start`. The last
        state is that of all steps, the same on each device. About three times the work of one loop,
        on n devices; of a row, a device is sent n times a state and a transition, whatever T is,
        and for the gradient as much again. `Associative(axis=...)` cuts time so by itself.

    Raises:
      TypeError, ValueError: for arguments of the wrong structure, dtype or shape, or an axis that
        is none of the `shard_map` around.

    Example:
      >>> last, states = linear_scan(jnp.array([0.5]), jnp.ones((3, 1)), jnp.zeros(1))
      >>> states[:, 0].tolist()
      [1.0, 1.5, 1.75]

    Blelloch 1990; Martin & Cundy 2018.
    """
    errors.check_loop(reverse, unroll)
    errors.check_radix("linear_scan", radix)
    errors.check_manual_axis(axis)
    for name, tree in (("a", a), ("b", b), ("start", start)):
        errors.check_floating("linear_scan", name, tree)
    a, b, start = jax.tree.map(strong, (a, b, start))
    check_recurrence(a, b, start)
    errors.check_time_flags("mask", mask, b)
    errors.check_time_flags("resets", resets, b)
    mask, resets = jax.tree.map(jnp.asarray, (mask, resets))
    a, b, start = on_one_mesh(a, b, start, (mask, resets))
    return _linear(Options(reverse, radix, unroll, axis), a, b, start, mask, resets)


def strong(x: Any) -> jax.Array:
    """An array whose dtype is its own and not that of a Python number."""
    x = jnp.asarray(x)
    return jax.lax.convert_element_type(x, x.dtype)


def on_one_mesh(a: Any, b: Any, start: Any, flags: Any) -> tuple[Any, Any, Any]:
    """The arguments such that a loop's carry keeps its type on a mesh.

    In `shard_map` all vary over the axes over which any does. That is said before the loop, so
    that the gradient of what did not vary is summed over devices once, after the loop. On a mesh
    of explicit axes `start` is sharded as a step of `b` is.
    """
    axes = frozenset().union(*map(varying, jax.tree.leaves((a, b, start, flags))))

    def vary(x: jax.Array) -> jax.Array:
        missing = tuple(sorted(axes - varying(x), key=str))
        return jax.lax.pcast(x, missing, to="varying") if missing else x

    def shard(x: jax.Array, step: jax.Array) -> jax.Array:
        here, there = jax.typeof(x).sharding.spec, jax.typeof(step).sharding.spec[1:]
        spec = tuple(there[i] or here[i] for i in range(x.ndim))
        if all(spec[i] == here[i] for i in range(x.ndim)):
            return x
        return jax.sharding.reshard(x, jax.sharding.PartitionSpec(*spec))

    a, b, start = jax.tree.map(vary, (a, b, start))
    return a, b, jax.tree.map(shard, start, b)


def varying(x: jax.Array) -> frozenset:
    """The axes of `shard_map` over which an array varies; older JAX calls them vma."""
    aval = jax.typeof(x)
    return aval.manual_axis_type.varying if hasattr(aval, "manual_axis_type") else aval.vma


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _linear(options: Options, a: Any, b: Any, start: Any, mask: Any, resets: Any) -> Any:
    def local(b: Any, start: Any) -> tuple[Any, Any]:
        return by_plan(options, a, b, start, mask, resets)

    if options.axis is None:
        return local(b, start)
    return over_devices(options.axis, options.reverse, local, a, b, start, mask, resets)


def by_plan(options: Options, a: Any, b: Any, start: Any, mask: Any, resets: Any) -> Any:
    """The recurrence on one device, by a plan for each platform."""
    nested = nested_steps(b) if options.reverse != options.tangent else 0

    def plan(radix: int, nested: int, unroll: int) -> Plan:
        if radix and longer(b, radix):
            return Plan(options.reverse, radix=radix)
        return Plan(options.reverse, max(options.unroll, unroll), nested=nested)

    unroll = UNROLL if longer(b, UNROLL) else 1
    radix = RADIX if options.radix is None else options.radix
    one_loop = options.radix is None and matrices(a, b) >= MATRICES
    cpu = plan(options.radix or 0, nested, 1)
    tpu = plan(0 if one_loop else radix, 0, 1)
    default = plan(radix, 0, unroll)
    return planned((("cpu", cpu), ("tpu", tpu), ("", default)), a, b, start, mask, resets)


def planned(plans: tuple, a: Any, b: Any, start: Any, mask: Any, resets: Any) -> Any:
    """The recurrence by the plan of the platform that the program is lowered for; the last plan is
    for all others.
    """
    (platform, plan), *others = plans
    if all(other == plan for _, other in others):
        return run(plan, a, b, start, mask, resets)
    args, linear = (a, b, start, mask, resets), (False, True, True, False, False)
    first, (rows, *flags) = _constant(0, start), _constant(1, (b, mask, resets))
    timed = map_transitions(lambda a, b: _constant(int(has_time_axis(a, b)), a), a, b)
    in_axes, out_axes = (timed, rows, first, *flags), (first, rows)  # vmap's axes come behind time
    here, elsewhere = Call(run, plan), Call(planned, tuple(others))
    return by_platform(platform, here, elsewhere, args, linear, in_axes, out_axes)


def _constant(axis: int, tree: Any) -> Any:
    return jax.tree.map(lambda x: axis, tree)


# With g_t for the state that step t begins from,
#
#     g_t = 0 where resets[t], else h_{t-1}
#     h_t = a_t g_t + b_t where mask[t], else h_{t-1}
#
# Step by step, by the rule for products and since flags choose without being differentiated,
#
#     dg_t = 0 where resets[t], else dh_{t-1}
#     dh_t = a_t dg_t + (da_t g_t + db_t) where mask[t], else dh_{t-1},    dh_0 = dstart
#
# This is the same recurrence, with the same a, mask and resets, from dstart, and with the terms in
# brackets for b. All g_t are known, since the states are, so the terms in brackets are one product
# for all steps at once. The tangent is linear in (da, db, dstart), its loop in (db, dstart), and
# JAX transposes the loop into one of cotangents that runs the other way.
@partial(_linear.defjvp, symbolic_zeros=True)
def _linear_jvp(options: Options, primals: tuple, tangents: tuple) -> tuple[Any, Any]:
    a, _, start, mask, resets = primals
    out = _linear(options, *primals)
    da, db, dstart = (
        jax.tree.map(lambda x, d: jnp.zeros_like(x) if is_zero(d) else d, x, d)
        for x, d in zip(primals[:3], tangents[:3], strict=True)
    )
    if not all(map(is_zero, jax.tree.leaves(tangents[0]))):
        first = start
        if options.axis is not None:
            first = first_before(options.axis, options.reverse, start, out[1])
        g = states_before(first, out[1], options.reverse)
        if resets is not None:
            g = choose(resets, jax.tree.map(jnp.zeros_like, g), g)
        db = jax.tree.map(jnp.add, map_transitions(multiply_all_steps, da, g), db)
    return out, _linear(options._replace(tangent=True), a, db, dstart, mask, resets)


def is_zero(tangent: Any) -> bool:
    """Whether a tangent is known to be zero, without an array."""
    return isinstance(tangent, SymbolicZero)


def matrices(a: Any, b: Any) -> int:
    """The bytes of a step's matrices, one for each row; of symbolic sizes 0."""

    def size(a: Any, b: Any) -> int:
        shape = jax.tree.leaves(b)[0].shape[1:]
        known = isinstance(a, Matrix) and all(isinstance(n, int) for n in shape)
        return math.prod((*shape, shape[-1])) * a.w.dtype.itemsize if known else 0

    return sum(jax.tree.leaves(map_transitions(size, a, b)))


def nested_steps(b: Any) -> int:
    """How many steps a CPU's loop that goes back through memory takes as a loop in a loop, or 0.

    Past its caches a CPU reads rows of a kilobyte or so backward half as fast as forward; within a
    few steps it does not matter. Of symbolic sizes it is not known.
    """
    leaves, length = jax.tree.leaves(b), steps_of(b)
    if not all(isinstance(n, int) for x in leaves for n in x.shape):
        return 0
    size = sum(x.size * x.dtype.itemsize for x in leaves)
    if size < CACHE or size < ROW * length:
        return 0
    return next((count for count in range(128, 31, -1) if length % count == 0), 0)
