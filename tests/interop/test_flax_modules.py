"""Layers as modules of Flax, against `unroll` and against Flax's own `RNN`."""

import importlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn as rnn

pytest.importorskip("flax")
from flax import linen, nnx

from jaxrnn.interop import flax as interop

B, T, F, H = 2, 5, 3, 4
KEY, SPEC = jax.random.key(7), rnn.features(F)
XS = jax.random.normal(jax.random.key(1), (B, T, F))
LENGTHS = jnp.array([5, 3])
RESETS = jnp.zeros((B, T), bool).at[0, 2].set(True)
NOISY = rnn.Stack((rnn.LSTM(H), rnn.Dropout(0.5), rnn.Dense(F)))
NETS = {"noisy": NOISY, "fixed": rnn.Stack((rnn.EchoState(H), rnn.Dense(F)))}


def close(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def score(carry, ys):
    return (jnp.sin(ys) * jnp.arange(float(T))[:, None]).sum() + sum(
        map(jnp.sum, jax.tree.leaves(carry))
    )


def by_unroll(net, params, state, key=KEY):
    """Score, outputs and gradients of all controls at once, time first."""

    def f(params, state):
        last, ys = rnn.unroll(
            net,
            params,
            jnp.swapaxes(XS, 0, 1),
            state=state,
            mask=rnn.lengths_to_mask(LENGTHS, T),
            resets=RESETS.T,
            key=key,
        )
        ys = jnp.swapaxes(ys, 0, 1)
        return score(last, ys), (last, ys)

    return jax.jit(jax.value_and_grad(f, has_aux=True))(params, state)


SAME = {"seq_lengths": LENGTHS, "resets": RESETS, "return_carry": True}


@pytest.mark.parametrize("name", NETS)
def test_an_nnx_module_is_unroll(name):
    net = NETS[name]
    module = interop.nnx.Recurrent(net, F, rngs=nnx.Rngs(0), strategy=rnn.Chunked(2))
    params, state = module.params, module.initial_state((B,))
    assert jax.tree.structure(params) == jax.tree.structure(net.init(KEY, F))
    state = jax.tree.map(lambda a: a + 0.5, state)

    @nnx.jit
    def f(module, state):
        def loss(module):
            carry, ys = module(XS, initial_carry=state, rngs=KEY, **SAME)
            return score(carry, ys), (carry, ys)

        return nnx.value_and_grad(loss, has_aux=True)(module)

    (value, grads), (want, want_grads) = f(module, state), by_unroll(net, params, state)
    close(value, want)
    flat = {".".join(map(str, path[1:])): leaf[...] for path, leaf in nnx.to_flat_state(grads)}
    name = jax.tree_util.keystr
    wanted = {
        name(path, simple=True, separator="."): leaf
        for path, leaf in jax.tree_util.tree_flatten_with_path(want_grads)[0]
    }
    fixed = {path for path in wanted if "fixed" in path}
    assert all(not wanted[path].any() for path in fixed)
    close(flat, {path: leaf for path, leaf in wanted.items() if path not in fixed})
    assert len(jax.tree.leaves(nnx.state(module, interop.nnx.Fixed))) == len(fixed)

    # Time first, and a mask in place of lengths.
    carry, ys = module(
        jnp.swapaxes(XS, 0, 1),
        initial_carry=state,
        mask=rnn.lengths_to_mask(LENGTHS, T),
        resets=RESETS.T,
        return_carry=True,
        time_major=True,
        rngs=KEY,
    )
    close((carry, jnp.swapaxes(ys, 0, 1)), want[1])


def two_models(rngs):
    """A model around `nnx.RNN`, and the same around `Recurrent` with its weights."""

    class Model(nnx.Module):
        def __init__(self, rnn, head):
            self.rnn, self.head = rnn, head

        def __call__(self, xs, **settings):
            return self.head(self.rnn(xs, **settings))

    cell, head = nnx.LSTMCell(F, H, rngs=rngs), nnx.Linear(H, 1, rngs=rngs)
    layer, params = interop.from_nnx(cell)
    new = interop.nnx.Recurrent(layer, F, rngs=rngs)
    new.set_params(params)
    return Model(nnx.RNN(cell), head), Model(new, nnx.clone(head))


def test_a_module_stands_where_nnx_rnn_stands():
    old, new = two_models(nnx.Rngs(0))

    @nnx.jit
    def step(model, optimizer):
        loss, grads = nnx.value_and_grad(lambda m: ((m(XS) - 1) ** 2).mean())(model)
        optimizer.update(model, grads)
        return loss

    optimizers = [nnx.Optimizer(m, optax.sgd(0.5), wrt=nnx.Param) for m in (old, new)]
    before = new(XS)
    for _ in range(2):
        losses = [step(m, tx) for m, tx in zip((old, new), optimizers, strict=True)]
        close(*losses)
    assert jnp.abs(new(XS) - before).max() > 0.01
    close(new(XS), old(XS))
    got, want = (m.rnn(XS, seq_lengths=LENGTHS, reverse=True) for m in (new, old))
    close((got[0], got[1, :3]), (want[0], want[1, :3]))
    again = nnx.merge(*nnx.split(new))
    np.testing.assert_array_equal(again(XS), new(XS))
    # What noise there is not needs no key, so the module can be closed over.
    assert not jax.tree.leaves(nnx.state(new, nnx.RngState))
    assert jax.jit(jax.grad(lambda xs: new(xs).sum()))(XS).shape == XS.shape


def test_within_nnx_bidirectional():
    def both(make):
        return nnx.Bidirectional(make(0), make(1))

    cells = [nnx.GRUCell(F, H, rngs=nnx.Rngs(i)) for i in (0, 1)]

    def ours(i):
        layer, params = interop.from_nnx(cells[i])
        module = interop.nnx.Recurrent(layer, F, rngs=nnx.Rngs(0))
        module.set_params(params)
        return module

    got, want = (
        both(make)(XS, seq_lengths=LENGTHS, return_carry=True)
        for make in (ours, lambda i: nnx.RNN(cells[i]))
    )
    valid = rnn.lengths_to_mask(LENGTHS, T).T[..., None]
    close((got[0], jnp.where(valid, got[1], 0)), (want[0], jnp.where(valid, want[1], 0)))


def test_an_optimizer_of_nnx_leaves_what_is_fixed_alone():
    module = interop.nnx.Recurrent(NETS["fixed"], F, rngs=nnx.Rngs(0))
    before, tx = module.params, optax.chain(optax.add_decayed_weights(1.0), optax.sgd(0.1))
    optimizer = nnx.Optimizer(module, tx, wrt=nnx.Param)
    optimizer.update(module, nnx.grad(lambda m: m(XS).sum())(module))
    close(module.params[0], before[0])
    assert jnp.abs(module.params[1]["w"] - before[1]["w"]).min() > 0.01


def test_noise_of_nnx_follows_train_and_eval():
    modules = [interop.nnx.Recurrent(NOISY, F, rngs=nnx.Rngs(0)) for _ in range(2)]
    one, two = (m(XS) for m in modules)
    np.testing.assert_array_equal(one, two)
    assert (modules[0](XS) != one).any()  # another call, another key
    modules[0].eval()
    quiet = modules[0](XS)
    want = rnn.unroll(NOISY, modules[0].params, jnp.swapaxes(XS, 0, 1))[1]
    close(quiet, jnp.swapaxes(want, 0, 1))
    np.testing.assert_array_equal(modules[1](XS, deterministic=True), quiet)
    np.testing.assert_array_equal(nnx.view(modules[1], deterministic=True)(XS), quiet)
    modules[0].train()
    assert (modules[0](XS) != quiet).any()
    rngs = [nnx.Rngs(dropout=3), nnx.Rngs(dropout=3).dropout, nnx.Rngs(dropout=3).dropout()]
    first, *others = (modules[0](XS, rngs=r) for r in rngs)
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_tokens_and_steps_of_nnx():
    net = rnn.Stack((rnn.Embed(7, F), rnn.GRU(H)))
    module = interop.nnx.Recurrent(net, rnn.TOKEN, rngs=nnx.Rngs(0))
    tokens = jnp.arange(B * T).reshape(B, T) % 7
    carry, ys = module(tokens, return_carry=True)
    state, y = module.initial_state((B,)), None
    for t in range(T):
        state, y = module.step(state, tokens[:, t])
        close(y, ys[:, t])
    close(state, carry)


@pytest.mark.parametrize("name", NETS)
def test_a_linen_module_is_unroll(name):
    net = NETS[name]
    module = interop.linen.Recurrent(net, strategy=rnn.Chunked(2))
    made = module.init(jax.random.key(0), XS)
    params = net.init(jax.random.key(3), F)
    variables = interop.linen.variables_of(params)
    shapes = [jax.tree.map(jnp.shape, v) for v in (made, variables)]
    assert {k: v for k, v in shapes[0].items() if v} == {k: v for k, v in shapes[1].items() if v}
    state = jax.tree.map(lambda a: a + 0.5, net.initial_state(params, (B,)))

    rngs = {"dropout": KEY}

    def f(variables, state):
        carry, ys = module.apply(variables, XS, initial_carry=state, rngs=rngs, **SAME)
        return score(carry, ys), (carry, ys)

    key = module.apply(variables, rngs=rngs, method=lambda m: m.make_rng("dropout"))
    value, grads = jax.jit(jax.value_and_grad(f, has_aux=True))(variables, state)
    want, want_grads = by_unroll(net, params, state, key)
    close((value, grads), (want, interop.linen.variables_of(want_grads)))
    assert not any(g.any() for g in jax.tree.leaves(grads["fixed"]))

    without = module.apply(variables, XS, rngs=rngs, deterministic=True)
    np.testing.assert_array_equal(without, module.apply(variables, XS))
    assert (without != module.apply(variables, XS, rngs=rngs)).any() == (net is NOISY)


def test_a_module_stands_where_linen_rnn_stands():
    class Model(linen.Module):
        rnn: linen.Module

        @linen.compact
        def __call__(self, xs, **settings):
            return linen.Dense(1)(self.rnn(xs, **settings))

    cell = linen.OptimizedLSTMCell(H)
    old = Model(linen.RNN(cell))
    variables = old.init(jax.random.key(0), XS)
    layer, params = interop.from_linen(cell, variables["params"]["rnn"]["cell"])
    new = Model(interop.linen.Recurrent(layer))
    weights = {"rnn": interop.linen.variables_of(params)["params"]}
    converted = {"params": variables["params"] | weights}

    def step(model, variables):
        def loss(p, lengths):
            settings = {"seq_lengths": lengths, "reverse": True}
            return ((model.apply({"params": p}, XS, **settings)[:, :3] - 1) ** 2).mean()

        loss, grads = jax.value_and_grad(loss)(variables["params"], LENGTHS)
        return loss, jax.tree.map(lambda p, g: p - 0.5 * g, variables["params"], grads)

    loss, got = jax.jit(step, static_argnums=0)(new, converted)
    want_loss, want = jax.jit(step, static_argnums=0)(old, variables)
    close(loss, want_loss)
    close(got["Dense_0"], want["Dense_0"])
    close(got["rnn"], interop.from_linen(cell, want["rnn"]["cell"])[1])


def test_within_linen_bidirectional():
    half = interop.linen.Recurrent(rnn.GRU(H))
    module = linen.Bidirectional(half, half.copy(), return_carry=True)
    variables = module.init(jax.random.key(0), XS)
    got = module.apply(variables, XS, seq_lengths=LENGTHS)
    net, params = rnn.Bidirectional(rnn.GRU(H)), variables["params"]
    params = params["forward_rnn"], params["backward_rnn"]
    mask = rnn.lengths_to_mask(LENGTHS, T)
    state, ys = rnn.unroll(net, params, jnp.swapaxes(XS, 0, 1), mask=mask)
    close(got, (state, jnp.swapaxes(ys, 0, 1)))


def test_steps_of_linen():
    module = interop.linen.Recurrent(rnn.GRU(H), return_carry=True, time_major=True)
    variables = module.init(jax.random.key(0), XS[0])
    carry, ys = module.apply(variables, XS[0])
    state = module.apply(variables, XS[0, 0], method="initial_state")
    for t in range(T):
        state, y = module.apply(variables, state, XS[0, t], method="step")
        close(y, ys[t])
    close(state, carry)


@pytest.mark.parametrize("name", ["flax", "onnx", "torch"])
def test_without_the_package_the_error_names_the_extra(name, monkeypatch):
    room = importlib.import_module("jaxrnn.interop")
    monkeypatch.delitem(vars(room), name, raising=False)
    for loaded in list(sys.modules):
        if loaded.startswith(f"jaxrnn.interop.{name}"):
            monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=r"\.\[interop\]") as caught:
        getattr(room, name)
    assert caught.value.name == name
