"""The linear recurrence under everything that JAX does to a function, against a plain scan."""

import os
import pathlib
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.tables import first
from jaxrnn import linear_scan
from jaxrnn.autodiff.linear_scan import Options, _linear

T, B, N = 20, 2, 3
ALL = ("cpu", "cuda", "tpu")


def plain(a, b, start):
    def step(h, b):
        h = a * h + b
        return h, h

    return jax.lax.scan(step, start, b)


def drawn():
    keys = jax.random.split(jax.random.key(0), 3)
    a = jax.random.uniform(keys[0], (N,), minval=0.2, maxval=0.8)
    return a, jax.random.normal(keys[1], (T, B, N)), jax.random.normal(keys[2], (B, N))


def gradient(f):
    def loss(*args):
        return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(f(*args)))

    return jax.grad(loss, (0, 1, 2))


def pushed(f):
    return lambda *args: jax.jvp(f, args, args)


WAYS = {
    "value": lambda f: f,
    "grad": gradient,
    "jvp": pushed,
    "grad of grad": lambda f: gradient(gradient(f)),
    "jvp of grad": lambda f: pushed(gradient(f)),
    "grad of jvp": lambda f: gradient(pushed(f)),
    "grad of checkpoint": lambda f: gradient(jax.checkpoint(f)),
}


def recurrence(radix):
    return lambda a, b, start: linear_scan(a, b, start, radix=radix)


def close(got, want):
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("radix", [None, 0, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("way", WAYS)
def test_every_derivative_and_its_vmap(way, radix, x64):
    args = drawn()
    f, g = WAYS[way](recurrence(radix)), WAYS[way](plain)
    close(jax.jit(f)(*args), jax.jit(g)(*args))
    axes = (None, 1, 0)
    close(jax.jit(jax.vmap(f, axes))(*args), jax.jit(jax.vmap(g, axes))(*args))


@pytest.mark.slow
def test_without_jit(x64):
    f = gradient(linear_scan)
    a, b, start = drawn()
    want = gradient(plain)(a, b, start)
    with jax.disable_jit():
        close(f(a, b, start), want)
    close(f(a, b, start), want)
    with jax.debug_nans(True), pytest.raises(FloatingPointError):
        linear_scan(a, b / 0, start)


def exported(f, sizes, platforms):
    t, b = jax.export.symbolic_shape(sizes) if isinstance(sizes, str) else sizes
    specs = [jax.ShapeDtypeStruct(shape, float) for shape in ((N,), (t, b, N), (b, N))]
    return jax.export.export(jax.jit(f), platforms=platforms)(*specs)


@pytest.mark.parametrize("way", ["value", "grad", "jvp of grad"])
@pytest.mark.parametrize("radix", first(1, [None, 4]))
@pytest.mark.parametrize(
    ("sizes", "platforms"), [("t, b", ["cpu"]), ("20, b", ALL), ((T, B), ALL), ("t, b", ALL)]
)
def test_exports_with_symbolic_sizes_and_for_many_platforms(sizes, platforms, radix, way, x64):
    program = exported(WAYS[way](recurrence(radix)), sizes, platforms)
    close(program.call(*drawn()), WAYS[way](plain)(*drawn()))


def loops(f, platforms):
    return exported(f, (T, B), platforms).mlir_module().count("stablehlo.while")


def test_a_program_for_an_accelerator_is_cut_where_it_is_lowered(x64):
    """Whatever it is traced on: one loop on a CPU, chunks elsewhere, and of a derivative too."""
    for way in ("value", "grad"):
        chosen, one, cut = (WAYS[way](recurrence(radix)) for radix in (None, 0, 16))
        assert loops(one, ["cuda"]) == loops(one, ["cpu"]) < loops(cut, ["cuda"])
        assert loops(chosen, ["cpu"]) == loops(one, ["cpu"])
        assert loops(chosen, ["cuda"]) == loops(chosen, ["tpu"]) == loops(cut, ["cuda"])


def test_a_rule_that_is_lost_is_made_up_for(x64):
    """JAX drops a `custom_jvp` where a loop around it is differentiated in reverse twice."""

    def around(f):
        def summed(a, b, start):
            return jax.lax.scan(lambda h, b: f(a, b, h), start, b.reshape(2, -1, B, N))[1]

        return gradient(gradient(summed))

    close(jax.jit(around(recurrence(None)))(*drawn()), jax.jit(around(plain))(*drawn()))


def test_vmap_turns_no_array(x64):
    """Behind time, where the scan puts it, a batch axis stays."""
    text = str(jax.make_jaxpr(jax.vmap(gradient(recurrence(None)), (None, 1, 0)))(*drawn()))
    (call, *_) = [line for line in text.splitlines() if "by_platform[" in line]
    assert f"{T},{B},{N}" in call
    made = jax.make_jaxpr(jax.vmap(lambda *x: recurrence(None)(*x)[1], (None, 1, 0), 1))(*drawn())
    assert "transpose" not in str(made)


def test_equal_calls_are_compiled_once():
    from jax._src import test_util  # counts what JAX lowers

    args = jax.tree.map(jnp.float32, drawn())
    options = Options(False, None, 1)
    _linear(options, *args, None, None)
    with test_util.count_jit_and_pmap_lowerings() as count:
        _linear(options, *args, None, None)
    assert count() == 0


ON_TWO_DEVICES = """
    import re
    import jax, jax.numpy as jnp
    from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
    from jaxrnn import Matrix
    from test_linear_transforms import B, N, close, drawn, gradient, plain, pushed, recurrence

    jax.config.update("jax_enable_x64", True)
    a, b, start = drawn()
    specs, drives = (P(), P(None, "rows"), P()), P(None, "rows")

    mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))
    for radix in (None, 4):
        for f, g in ((gradient, gradient), (lambda f: gradient(pushed(f)),) * 2):
            ours, theirs = f(recurrence(radix)), g(plain)
            mapped = jax.jit(jax.shard_map(ours, mesh=mesh, in_specs=specs, out_specs=specs))
            da, db, dstart = theirs(a, b, jnp.concatenate([start[:1]] * B))
            close(mapped(a, b, start[:1]), (da, db, dstart.sum(0, keepdims=True)))
        inside = jax.shard_map(gradient(recurrence(radix)), mesh=mesh, in_specs=specs,
                               out_specs=specs)
        text = str(jax.make_jaxpr(inside)(a, b, start[:1]))
        sums = re.findall(r":(f64\\[[0-9,]*\\])\\S* = psum\\w*\\[", text)
        assert sorted(sums) == [f"f64[1,{N}]", f"f64[{N}]"], text  # one each, after the loop

    mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Explicit,))
    matrix = Matrix(jnp.eye(N) * 0.3 + 0.1)
    for radix in (None, 4):
        for f in (lambda f: f, gradient, lambda f: gradient(gradient(f))):
            want = jax.jit(f(plain))(a, b, start), jax.jit(f(recurrence(0)))(matrix, b, start)
            with jax.set_mesh(mesh):
                split = jax.device_put(b, NamedSharding(mesh, drives))
                for first in (start, jax.device_put(start, NamedSharding(mesh, P("rows")))):
                    for a_, wanted in zip((a, matrix), want):
                        got = jax.jit(f(recurrence(radix)))(a_, split, first)
                        close(got, wanted)
                        states = jax.tree.leaves(got)[1]
                        assert tuple(jax.typeof(states).sharding.spec)[:2] == (None, "rows")
    print("done")
"""


@pytest.mark.slow
def test_over_two_devices():
    """`shard_map` with its checks, b varying and start and a not: one sum over devices for the
    gradient of each, after the loop. And a mesh of explicit axes."""
    folders = list(map(str, pathlib.Path(__file__).parents[:3]))
    flags = "--xla_force_host_platform_device_count=2"
    path = os.pathsep.join(folders)
    env = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path}
    command = [sys.executable, "-c", textwrap.dedent(ON_TWO_DEVICES)]
    ran = subprocess.run(command, env=env, capture_output=True, text=True)
    assert ran.stdout == "done\n", ran.stderr[-4000:]
