"""Two directions of one cell side by side: one loop, however a platform runs it, gives what the
cell gives in each direction by itself.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.cases import CELLS
from helpers.cells import Plain
from helpers.jaxprs import equations
from jaxrnn.autodiff.in_blocks import in_blocks
from jaxrnn.autodiff.kernels.rows import plain
from jaxrnn.autodiff.loop import DEFAULT, PLATFORMS, scanned
from jaxrnn.autodiff.members import as_one
from jaxrnn.testing.inputs import example
from jaxrnn.testing.observe import agree, observe
from jaxrnn.testing.ways import Whole

KEY = jax.random.key(0)
T, B, F = 21, 2, 3
WAYS = {"a gpu": as_one(plain(in_blocks)), "a tpu": as_one(plain(scanned)), "any": DEFAULT}


def run(net, params, xs, **controls):
    return rnn.unroll(net, params, xs, **controls)[1]


def apart(net, params, xs, **controls):
    """What the children give one by one."""
    ways = zip(net.children, params, (False, True), strict=True)
    return tuple(run(cell, p, xs, reverse=back, **controls) for cell, p, back in ways)


def both(cell):
    """Two children, their params, inputs and controls."""
    net = rnn.Bidirectional(cell, merge="none")
    params, xs = net.init(KEY, F), jax.random.normal(KEY, (T, B, F))
    mask, resets = jax.random.bernoulli(KEY, 0.7, (2, T, B))
    return net, params, xs, {"mask": mask, "resets": resets}


def gradients(f, net, params, xs, controls):
    """Outputs, and gradients in params and inputs."""

    def loss(params, xs):
        ys = f(net, params, xs, **controls)
        return sum(jnp.sum(jnp.sin(y) * k) for k, y in enumerate(ys, 1)), ys

    return jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, xs)


def close(got, want):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5), got, want)


def loops(f, *args):
    """The directions of every loop in a program."""
    found = equations(jax.make_jaxpr(f)(*args).jaxpr, "loop")
    return [eqn.params["reverse"] for eqn in found]


@pytest.mark.parametrize("cell", [rnn.LSTM(4), pytest.param(rnn.GRU(4), marks=pytest.mark.slow)])
def test_one_loop_forward_and_one_backward_on_every_platform(running, cell):
    given = both(cell)
    want = gradients(apart, *given)
    net, params, xs, controls = given
    found = loops(jax.grad(lambda p: sum(map(jnp.sum, run(net, p, xs, **controls)))), params)
    assert found == [(False, True), (True, False)]
    for way in (PLATFORMS["cpu"], *WAYS.values()):
        running(way)
        close(gradients(run, *given), want)


def test_what_only_one_direction_needs_is_a_loop_of_its_own():
    net, params, xs, controls = both(rnn.Elman(3))

    def of(f, p, xs):  # the backward cell alone is read, or trained
        return jnp.sum(jnp.sin(f(net, (params[0], p), xs, **controls)[1]))

    def trained(f, p, xs):
        return sum(jnp.sum(jnp.sin(y)) for y in f(net, (params[0], p), xs, **controls))

    for loss in (of, trained):
        got, want = (
            jax.jit(jax.grad(loss, 1), static_argnums=0)(f, params[1], xs) for f in (run, apart)
        )
        close(got, want)
    mapped = [jax.vmap(jax.grad(lambda p, f=f: trained(f, p, xs))) for f in (run, apart)]
    close(*(f(jax.tree.map(lambda a: jnp.stack([a, 2 * a]), params[1])) for f in mapped))
    assert loops(jax.grad(lambda p: trained(run, p, xs)), params[1]) == [
        (False,),
        (True,),
        (False,),
    ]
    program = jax.jit(lambda p: run(net, p, xs)[1]).lower(params).compile().as_text()
    assert program.count(" while(") == 1


def test_noise_is_that_of_each_child():
    net, params, xs, controls = both(rnn.RecurrentDropout(rnn.LSTM(3), 0.4))
    ys = run(net, params, xs, key=KEY, **controls)
    for i, (cell, p) in enumerate(zip(net.children, params, strict=True)):
        key = jax.random.fold_in(KEY, i)
        close(ys[i], run(cell, p, xs, key=key, reverse=bool(i), **controls))


class Changed(rnn.Bidirectional):
    """Its children read other inputs than its own."""

    def compose(self, params, x, child):
        return child(0, 2 * x), child(1, x)


class Apart(rnn.Composite):
    """Three cells over one input, added up."""

    @property
    def children(self):
        return (rnn.Elman(3),) * 3

    def compose(self, params, x, child):
        return child(0, x) + child(1, x) + child(2, x)


class Trio(Apart):
    """The same, side by side."""

    @property
    def directions(self):
        return (False,) * 3


def test_a_composite_of_ones_own_says_that_its_children_read_its_input():
    params, xs = Trio().init(KEY, F), jax.random.normal(KEY, (T, B, F))
    mask, resets = jax.random.bernoulli(KEY, 0.7, (2, T, B))

    def loss(net, params):
        def total(acc, params, ys, extra, mask):
            return acc + jnp.sum(jnp.sin(ys))

        given = {"mask": mask, "resets": resets, "reverse": True}
        state, acc = rnn.fold(net, params, xs, total, jnp.float32(0), **given)
        return acc, state

    close(
        *(jax.jit(jax.grad(partial(loss, net), has_aux=True))(params) for net in (Trio(), Apart()))
    )
    program = loops(lambda p: run(Trio(), p, xs), params)
    assert (program, len(loops(lambda p: run(Apart(), p, xs), params))) == ([(False,) * 3], 3)


class Called(Plain):
    """A step that no `vmap` takes."""

    def step(self, params, state, z, dot):
        new = super().step(params, state, z, dot)
        return new + jax.pure_callback(np.sin, jax.typeof(state), state)


def test_children_that_cannot_share_a_loop_have_their_own(running):
    xs = jax.random.normal(KEY, (5, F))
    changed, other = Changed(rnn.Elman(3)), rnn.Bidirectional(rnn.Elman(3), rnn.Elman(2), "none")
    for net in (changed, other):
        params = net.init(KEY, F)
        factor, back = (2, False) if net is changed else (1, True)
        want = [
            run(net.children[0], params[0], factor * xs),
            run(net.children[1], params[1], xs, reverse=back),
        ]
        close(list(run(net, params, xs)), want)
    running(WAYS["a gpu"])
    net = rnn.Bidirectional(Called(3), merge="none")
    params = net.init(KEY, F)
    close(jax.jit(lambda p: run(net, p, xs))(params), jax.jit(lambda p: apart(net, p, xs))(params))


@pytest.mark.slow
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", ["bidirectional", "deep bidirectional", "gru-d stack"])
def test_the_case_table_on_a_gpu(running, name, reverse):
    """Every output, state and gradient, against a strategy that leaves each child by itself."""
    cell, x, *_ = CELLS[name]
    given = example(cell, x, KEY)
    want = observe(Whole(rnn.Auto(), reverse), cell, given)
    running(WAYS["a gpu"])
    agree(2, cell, "side by side", observe(Whole(reverse=reverse), cell, given), want)
