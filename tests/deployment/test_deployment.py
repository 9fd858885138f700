"""Exported networks: the answers of their layers, without their code."""

import functools
import json
import subprocess
import sys
from hashlib import sha256
from typing import NamedTuple

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers.cases import CELLS
from helpers.equal import same
from helpers.tables import first
from jaxrnn.deployment.loading import calls
from jaxrnn.deployment.plain import classed, plain

pytest.importorskip("flatbuffers")

EVERYWHERE = ("cpu", "cuda", "rocm", "tpu")


class Two(NamedTuple):
    """A state whose fields are not in the order of their names."""

    slow: jax.Array
    fast: jax.Array


class Leaky(rnn.Cell):
    """A user's cell with a state of its own class and a fixed weight."""

    def init(self, key, x):
        return {"w": jax.random.normal(key, x.shape), "fixed": {"rate": jnp.full(x.shape, 0.9)}}

    def initial_state(self, params, batch_shape=()):
        shape = (*batch_shape, *params["w"].shape)
        return Two(jnp.ones(shape), jnp.zeros(shape))

    def project(self, params, xs, noise=None):
        return xs * params["w"]

    def step(self, params, state, z, dot):
        slow = params["fixed"]["rate"] * state.slow + z
        return Two(slow, jnp.tanh(slow - state.fast))

    def readout(self, params, state, z):
        return state.slow + 2 * state.fast


NET = rnn.Stack((rnn.Embed(5, 3), rnn.LSTM(4), rnn.Dropout(0.5), rnn.Residual(Leaky())))
NETS = {
    "stack": (NET, rnn.TOKEN),
    "both ways": (rnn.Bidirectional(rnn.GRU(3), merge="none"), 3),
    "linear": (rnn.Stack((rnn.LRU(4), rnn.LayerNorm(), rnn.Dense(2))), 3),
    "reservoir": (rnn.Stack((rnn.LearnedState(rnn.GRU(4)), rnn.EchoState(3))), 3),
    "several": (CELLS["gru-d"].cell, CELLS["gru-d"].x),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("exported")


@functools.cache
def made(folder, name):
    """A network, its params, and what it is when it is exported and read."""
    net, x = NETS[name]
    params = net.init(jax.random.key(0), x)
    path = folder / f"{name}.safetensors"
    rnn.export(path, net, params, x, platforms=EVERYWHERE, metadata={"name": name})
    return net, params, rnn.load_exported(path)


def drawn(exported, *lead):
    draw = np.random.default_rng(0)

    def one(spec):
        shape = (*lead, *spec.shape)
        if jnp.issubdtype(spec.dtype, jnp.floating):
            return draw.standard_normal(shape).astype(spec.dtype)
        return draw.integers(0, 2 if spec.dtype == bool else 5, shape).astype(spec.dtype)

    return jax.tree.map(one, exported.x)


def close(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(plain(want))
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(plain(want)), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("name", first(2, NETS))
def test_values_are_those_of_the_layer(name, folder):
    net, params, exported = made(folder, name)
    assert (exported.metadata, exported.platforms) == ({"name": name}, EVERYWHERE)
    xs = drawn(exported, 4, 3)
    mask = np.random.default_rng(1).random((4, 3)) > 0.3
    close(exported.sequence(xs, mask=mask), rnn.unroll(net, params, xs, mask=mask))


def test_any_number_of_steps_and_rows(folder):
    net, params, exported = made(folder, "stack")
    for lead in ((1,), (5, 1), (2, 2, 3)):
        xs = drawn(exported, *lead)
        close(exported.sequence(xs), rnn.unroll(net, params, xs))


def test_steps_one_by_one_are_the_sequence(folder):
    _, _, exported = made(folder, "stack")
    xs = drawn(exported, 4, 2, 3)
    whole, ys = exported.sequence(xs)
    state = exported.initial_state((2, 3))
    for x, y in zip(xs, ys, strict=True):
        state, got = exported.step(state, x)
        close(got, y)
    close(state, whole)
    half, _ = exported.sequence(xs[:2])
    close(exported.sequence(xs[2:].astype(np.uint8), half), (whole, ys[2:]))
    scanned = jax.jit(lambda xs: jax.lax.scan(exported.step, exported.initial_state((2, 3)), xs))
    close(scanned(xs), (whole, ys))


def test_a_state_of_the_layer_is_taken_too(folder):
    net, params, exported = made(folder, "stack")
    state, _ = rnn.unroll(net, params, drawn(exported, 2, 3))
    x = drawn(exported, 3)
    close(exported.step(state, x), rnn.advance(net, params, state, x))


def test_gradients_where_they_are_asked_for(folder):
    net = Leaky()
    params = net.init(jax.random.key(0), 2)
    rnn.export(folder / "leaky", net, params, 2, vjp_order=1, platforms=("cpu",))
    exported = rnn.load_exported(folder / "leaky")
    again = exported.sequence
    xs = drawn(exported, 4, 3)

    def loss(params, run):
        return jnp.sum(jnp.square(run(params)[1]))

    ours = jax.jit(lambda params: jax.grad(loss)(params, lambda p: rnn.unroll(net, p, xs)))
    theirs = jax.jit(lambda params: jax.grad(loss)(params, lambda p: again(xs, params=p)))
    close(theirs(exported.params), ours(params))
    _, _, without = made(folder, "linear")
    x = drawn(without, 1)
    with pytest.raises(ValueError, match="No VJP"):
        jax.grad(loss)(without.params, lambda p: without.sequence(x, params=p))


def test_known_numbers_of_steps_and_rows(folder):
    """Rows that fill the tiles of a TPU, whose order in memory JAX does not export."""
    net, xs = rnn.GRU(2), jnp.ones((3, 2, 4, 2))
    params = net.init(jax.random.key(0), 2)
    rnn.export(folder / "known", net, params, 2, steps=3, rows=8, platforms=EVERYWHERE)
    exported = rnn.load_exported(folder / "known")
    assert exported.sizes == (3, 8)
    close(exported.sequence(xs), rnn.unroll(net, params, xs))
    with pytest.raises(ValueError, match="got 2 steps; need 3"):
        exported.sequence(xs[:2])
    with pytest.raises(ValueError, match="got 4 rows; need 8"):
        exported.initial_state((4,))


def test_params_of_half_the_size(folder):
    net = rnn.GRU(3)
    params = net.init(jax.random.key(0), rnn.features(2, dtype=jnp.bfloat16))
    rnn.export(folder / "half", net, params, rnn.features(2, dtype=jnp.bfloat16))
    exported = rnn.load_exported(folder / "half")
    same(exported.params, params)
    xs = jnp.ones((3, 2), jnp.bfloat16)
    close(exported.step(exported.initial_state(), xs[0])[1], rnn.unroll(net, params, xs)[1][0])


def test_what_the_layer_is_made_of(folder):
    net, _, exported = made(folder, "linear")
    assert rnn.saving.from_json(exported.configuration) == net
    _, _, own = made(folder, "stack")
    assert own.configuration is None
    assert own.layer == repr(NET)
    assert repr(own) == f"Exported({NET!r}, x=int32[], platforms={EVERYWHERE})"


READER = """
import sys, jax.numpy as jnp, jaxrnn as rnn
exported = rnn.load_exported(sys.argv[1])
state, ys = exported.sequence(jnp.arange(12).reshape(4, 3) % 5)
print(ys.tolist())
"""


def test_another_process_needs_none_of_the_code(folder):
    net, params, _ = made(folder, "stack")
    path = folder / "stack.safetensors"
    run = subprocess.run([sys.executable, "-c", READER, path], capture_output=True, check=True)
    want = rnn.unroll(net, params, jnp.arange(12).reshape(4, 3) % 5)[1]
    np.testing.assert_allclose(json.loads(run.stdout), want, atol=1e-6)


def test_jax_alone_reads_a_program(folder):
    _, _, exported = made(folder, "stack")
    data = (folder / "stack.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    begin, end = json.loads(data[8 : 8 + length])["program.step"]["data_offsets"]
    step = jax.export.deserialize(bytearray(data[8 + length :][begin:end]))
    state, x = exported.initial_state((3,)), drawn(exported, 3)
    close(step.call(exported.params, state, x), exported.step(state, x))


def test_trees_without_classes_and_back():
    tree = ({"b": Two(1, (2,)), "a": [None, ()]}, rnn.LSTMState(3, {"x": 4}))
    assert plain(tree) == (
        {"b": {"slow": 1, "fast": (2,)}, "a": [None, ()]},
        {"h": 3, "c": {"x": 4}},
    )
    assert classed(tree, jax.tree.map(lambda n: 10 * n, plain(tree))) == jax.tree.map(
        lambda n: 10 * n, tree
    )


def parts(path):
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def joined(header, arrays):
    """A file whose checksums are right."""
    header["__metadata__"] |= {"checksum": "0" * 64, "arrays": sha256(arrays).hexdigest()}
    text = json.dumps(header).encode()
    text = text.replace(b"0" * 64, sha256(text).hexdigest().encode(), 1)
    return len(text).to_bytes(8, "little") + text + arrays


def test_a_damaged_file_is_refused_before_its_programs_are_looked_at(folder, monkeypatch):
    made(folder, "linear")
    whole = (folder / "linear.safetensors").read_bytes()
    monkeypatch.setattr(jax.export, "deserialize", lambda blob: pytest.fail("it was looked at"))
    path = folder / "damaged"
    for place in [*range(0, len(whole), len(whole) // 60), len(whole) - 1]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=str(path)):
            rnn.load_exported(path)
        path.write_bytes(whole[:place])
        with pytest.raises(ValueError, match=str(path)):
            rnn.load_exported(path)


def described(header, **fields):
    about = json.loads(header["__metadata__"]["exported"]) | fields
    header["__metadata__"]["exported"] = json.dumps(about)


def test_a_forged_file_is_refused(folder):
    made(folder, "linear")
    made(folder, "several")
    path = folder / "forged"

    def refused(words, change):
        header, arrays = parts(folder / "linear.safetensors")
        arrays = change(header, arrays) or arrays
        path.write_bytes(joined(header, arrays))
        with pytest.raises(ValueError, match=words):
            rnn.load_exported(path)

    def noise(header, arrays):
        begin, end = header["program.step"]["data_offsets"]
        return arrays[:begin] + bytes(end - begin) + arrays[end:]

    def renamed(old, new):
        def change(header, arrays):
            entries = {new if name == old else name: entry for name, entry in header.items()}
            header.clear()
            header.update(entries)

        return change

    def foreign(header, arrays):
        """The step of another network."""
        other, theirs = parts(folder / "several.safetensors")
        begin, end = other["program.step"]["data_offsets"]
        first, last = header["program.step"]["data_offsets"]
        move = (end - begin) - (last - first)
        for name, entry in header.items():
            if name != "__metadata__":
                a, b = entry["data_offsets"]
                entry["data_offsets"] = [a + move * (a > first), b + move * (b > first)]
        header["program.step"]["shape"] = [end - begin]
        return arrays[:first] + theirs[begin:end] + arrays[last:]

    refused("a program step of JAX", noise)
    refused("do not fit each other", foreign)
    refused("no program step", renamed("program.step", "params.more"))
    refused("no params.2.w", renamed("params.2.w", "params.2.v"))
    refused("another form", lambda header, arrays: described(header, programs=["step"]))
    refused("do not fit", lambda header, arrays: described(header, platforms=["cpu"]))
    refused("the form 2", lambda header, arrays: header["__metadata__"].update(version="2"))


def test_files_of_save_and_of_export_are_told_apart(folder):
    net, params, _ = made(folder, "linear")
    with pytest.raises(ValueError, match="load_exported"):
        rnn.load(folder / "linear.safetensors")
    rnn.save(folder / "saved", net, params, 3)
    with pytest.raises(ValueError, match="a network that save wrote"):
        rnn.load_exported(folder / "saved")


def test_calls_of_anything_but_known_functions_are_named(folder, monkeypatch):
    def foreign(x):
        like = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.ffi.ffi_call("some_function", like, vmap_method="broadcast_all")(x)

    net, path = rnn.Apply(foreign), folder / "calls"
    with pytest.raises(ValueError, match="some_function"):
        rnn.export(path, net, {}, 3)
    allowed = [jax.export.DisabledSafetyCheck.custom_call("some_function")]
    exporting = functools.partial(jax.export.export, disabled_checks=allowed)
    monkeypatch.setattr(jax.export, "export", exporting)
    rnn.export(path, net, {}, 3)
    with pytest.raises(ValueError, match="calls some_function"):
        rnn.load_exported(path)
    assert rnn.load_exported(path, custom_calls={"some_function"}).params == {}


def test_every_form_of_a_call_is_seen():
    text = 'custom_call @a.b(%0) custom_call @"c$d"(%1) "stablehlo.custom_call"(%2)'
    assert calls(text) == ["a.b", "c$d", ""]


def test_linear_algebra_is_exported_for_every_platform(folder):
    net = CELLS["orthogonal"].cell
    params = net.init(jax.random.key(0), 2)
    rnn.export(folder / "orthogonal", net, params, 2, platforms=EVERYWHERE)
    program = rnn.load_exported(folder / "orthogonal").programs["step"]
    called = set(calls(program.mlir_module()))
    assert {"lapack_sgetrf_ffi", "cusolver_getrf_ffi", "LuDecomposition"} <= called


@pytest.mark.parametrize(
    "strategy", [rnn.Auto(), rnn.Chunked(2), rnn.Associative(radix=2, fallback=rnn.Scan())]
)
@pytest.mark.slow
def test_strategies(strategy, folder):
    net = rnn.Stack((rnn.LRU(3), rnn.GRU(2)))
    params, xs = net.init(jax.random.key(0), 3), jnp.ones((5, 1, 3))
    rnn.export(folder / "strategy", net, params, 3, strategy=strategy)
    close(rnn.load_exported(folder / "strategy").sequence(xs), rnn.unroll(net, params, xs))


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, c in CELLS.items() if not c.cell.takes_memory])
def test_every_layer_is_exported_for_every_platform(name, folder):
    """Only that it is: what it computes is JAX's."""
    cell, x = CELLS[name].cell, CELLS[name].x
    rnn.export(folder / "case", cell, cell.init(jax.random.key(0), x), x, platforms=EVERYWHERE)
    assert ("step" in rnn.load_exported(folder / "case").programs) == cell.causal


def test_without_flatbuffers_the_package_is_named(folder, monkeypatch):
    made(folder, "linear")
    for name in [name for name in sys.modules if name.startswith("flatbuffers")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "jax._src.export.serialization", raising=False)
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(ModuleNotFoundError, match="flatbuffers is not installed"):
        rnn.load_exported(folder / "linear.safetensors")
    with pytest.raises(ModuleNotFoundError, match="flatbuffers is not installed"):
        rnn.export(folder / "none", rnn.Dense(1), {"w": jnp.ones((1, 1)), "b": jnp.ones(1)}, 1)
