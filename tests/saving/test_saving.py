"""Networks in files: the same bits back, and nothing else believed."""

import dataclasses
import io
import json
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from hashlib import sha256

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn as rnn
from helpers import cells
from helpers.cases import CELLS
from helpers.equal import same
from helpers.tables import first
from jaxrnn.axes import step_spec
from jaxrnn.layer import like_input
from jaxrnn.saving import configuration, from_json, network, tensors, to_json

CUSTOM = {
    name: getattr(cells, name)
    for name in (
        *("Average", "Plain", "Both", "Terms", "GRUD", "Reading"),
        *("ring", "halved", "maxout"),
    )
}


def numbers(like, dtype=None):
    """A tree of these shapes, drawn without compiling anything."""
    draw = np.random.default_rng(0)
    return jax.tree.map(
        lambda s: jnp.asarray(draw.standard_normal(s.shape), dtype or s.dtype), like
    )


VARIANTS_LAST = sorted(CELLS, key=lambda name: CELLS[name].variant)


@pytest.mark.parametrize(
    "name", first(sum(not case.variant for case in CELLS.values()), VARIANTS_LAST)
)
def test_every_layer_comes_back_as_it_was(name, tmp_path):
    case, path = CELLS[name], tmp_path / "net.safetensors"
    x = step_spec(case.cell, like_input(case.cell, case.x))
    dtype = (None, jnp.bfloat16, jnp.float16)[list(CELLS).index(name) % 3]
    params = numbers(network.params_like(case.cell, (x,)), dtype)
    state = numbers(network.state_like(case.cell, params, (2,)))
    rnn.save(path, case.cell, params, case.x, state=state, metadata={"score": 0.1}, custom=CUSTOM)
    saved = rnn.load(path, custom=CUSTOM)
    assert saved.layer == case.cell
    assert repr(saved.layer) == repr(case.cell)
    assert saved.x == x
    assert saved.metadata == {"score": 0.1}
    same(saved.params, params)
    same(saved.state, state)


DRAW = jax.nn.initializers.normal(0.01)
NET = rnn.Stack((rnn.Embed(5, 3), rnn.GRU(2)))
PARAMS = numbers(network.params_like(NET, (rnn.TOKEN,)))


class WithStrategy(rnn.Feedforward):
    """A user's layer with a strategy, a bound that is no size, and numbers to the last bit."""

    strategy: rnn.Strategy = rnn.Chunked(10**9)
    seed: int = 2**62
    share: float = 0.1 + 0.2

    def init(self, key, x):
        return {}

    def project(self, params, xs, noise=None):
        return xs


@pytest.mark.parametrize(
    "layer",
    [
        rnn.LSTM(3, b_init=rnn.initializers.Chrono(9.0), w_x_init=jax.nn.initializers.ones),
        rnn.Elman(
            3,
            jax.nn.softmax,
            w_h_init=rnn.initializers.SpectralRadius(0.5, DRAW),
        ),
        rnn.TransformedWeights(rnn.Elman(3, "modrelu"), rnn.Orthogonal(("w_h",))),
        WithStrategy(rnn.Newton(tol=1e-3)),
    ],
)
def test_fields_of_every_kind(layer):
    custom = {"draw": DRAW, "WithStrategy": WithStrategy}
    text = json.dumps(to_json(layer, custom))
    assert from_json(json.loads(text), custom) == layer
    assert repr(from_json(json.loads(text), custom)) == repr(layer)


def test_a_newer_field_has_its_default():
    config = to_json(rnn.Dense(3))
    assert from_json({**config, "fields": {"width": 3}}) == rnn.Dense(3)


def test_models(tmp_path):
    decoder = rnn.Stack((rnn.Embed(7, 2), rnn.GRU(2), rnn.Dense(7)))
    for net, x in (
        (rnn.Pooled(NET, rnn.Dense(2)), rnn.TOKEN),
        (rnn.EncoderDecoder(NET, decoder), (rnn.TOKEN, rnn.TOKEN)),
    ):
        params = numbers(network.params_like(net, x if isinstance(x, tuple) else (x,)))
        rnn.save(tmp_path / "net", net, params, x)
        saved = rnn.load(tmp_path / "net")
        assert (saved.layer, saved.x, saved.state) == (net, x, None)
        same(saved.params, params)


def test_a_loaded_network_goes_on_where_it_stood(tmp_path):
    tokens = jnp.array([[1], [0], [4], [2]])
    state, _ = rnn.unroll(NET, PARAMS, tokens[:2])
    rnn.save(tmp_path / "net", NET, PARAMS, rnn.TOKEN, state=state)
    saved = rnn.load(tmp_path / "net")
    same(
        rnn.unroll(saved.layer, saved.params, tokens[2:], state=saved.state),
        rnn.unroll(NET, PARAMS, tokens[2:], state=state),
    )


def test_doubles(tmp_path, x64):
    params = numbers(PARAMS, jnp.float64)
    rnn.save(tmp_path / "net", NET, params, rnn.TOKEN)
    same(rnn.load(tmp_path / "net").params, params)
    with jax.enable_x64(False), pytest.raises(ValueError, match="need 64 bits enabled"):
        rnn.load(tmp_path / "net")


# Writing


def test_in_the_background(tmp_path):
    go, params = threading.Event(), jax.tree.map(np.array, PARAMS)
    network.background().submit(go.wait)
    writing = rnn.save_async(tmp_path / "new" / "net", NET, params, rnn.TOKEN)
    for leaf in jax.tree.leaves(params):
        leaf[...] = 0
    assert not writing.done()
    go.set()
    writing.result()
    same(rnn.load(tmp_path / "new" / "net").params, PARAMS)
    failing = rnn.save_async(tmp_path / "new" / "net" / "inside", NET, PARAMS, rnn.TOKEN)
    with pytest.raises(OSError, match="no file written"):
        failing.result()


def test_a_write_that_stops_leaves_what_was_there(tmp_path, monkeypatch):
    rnn.save(tmp_path / "net", NET, PARAMS, rnn.TOKEN)
    before = (tmp_path / "net").read_bytes()
    for error, raised in ((KeyboardInterrupt, KeyboardInterrupt), (OSError(28, "full"), OSError)):

        def stop(file, error=error):
            raise error

        monkeypatch.setattr(os, "fsync", stop)
        with pytest.raises(raised):
            rnn.save(tmp_path / "net", NET, numbers(PARAMS, jnp.bfloat16), rnn.TOKEN)
        assert os.listdir(tmp_path) == ["net"]
        assert (tmp_path / "net").read_bytes() == before


PROGRAM = """
import os, signal, sys, time, jax, jax.numpy as jnp, jaxrnn as rnn
net, sync = rnn.Dense(2), os.fsync
params = {"w": jnp.full((3, 2), float(sys.argv[3])), "b": jnp.ones(2)}
def fsync(file):
    if sys.argv[2] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.5)
    sync(file)
os.fsync = fsync
rnn.save_async(sys.argv[1], net, params, 3)
"""


@pytest.mark.slow
def test_a_program_ends_with_its_file_and_a_killed_one_without(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "net"), *arguments]
        return subprocess.run(command, check=False).returncode

    assert run("end", "1.0") == 0
    assert run("kill", "2.0") == -9
    assert (rnn.load(tmp_path / "net").params["w"] == 1).all()


class Doubled(rnn.Apply):
    """A layer whose constructor changes its field."""

    f: int

    def __post_init__(self):
        object.__setattr__(self, "f", 2 * self.f)


def test_what_would_not_come_back_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"Doubled\(f=4\), whose fields make Doubled\(f=8\)"):
        to_json(Doubled(2), {"Doubled": Doubled})
    deep = rnn.GRU(2)
    for _ in range(150):
        deep = rnn.Residual(deep)
    with pytest.raises(ValueError, match="nested more than 100 deep"):
        to_json(deep)
    monkeypatch.setattr(tensors, "LONGEST", 100)
    with pytest.raises(ValueError, match="bytes; need 100 at most"):
        rnn.save(tmp_path / "net", NET, PARAMS, rnn.TOKEN)


def test_what_it_is_made_of_has_names():
    with pytest.raises(TypeError, match=r"Stack.cells\[0\].f, a function maxout .*custom=.*maxout"):
        to_json(rnn.Stack((rnn.Apply(cells.maxout),)))
    with pytest.raises(TypeError, match=r"of a class Plain of yours; .*'Plain': Plain"):
        to_json(rnn.Residual(cells.Plain(2)))


# Damage


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "net.safetensors"
    rnn.save(path, NET, PARAMS, rnn.TOKEN, state=numbers(network.state_like(NET, PARAMS, (2,))))
    return path.read_bytes()


def parts(file):
    length = int.from_bytes(file[:8], "little")
    return json.loads(file[8 : 8 + length]), file[8 + length :]


def joined(header, arrays, seal=True):
    """A file with right checksums, whatever it says."""
    if isinstance(header, dict):
        if seal:
            header["__metadata__"] |= {"checksum": "0" * 64, "arrays": sha256(arrays).hexdigest()}
        header = json.dumps(header).encode()
    if seal:
        digest = sha256(header).hexdigest().encode()
        header = header.replace(b"0" * 64, digest, 1)
    return len(header).to_bytes(8, "little") + header + arrays


def header(change, seal=True):
    """A file whose header was changed."""

    def made(file):
        entries, arrays = parts(file)
        change(entries)
        return joined(entries, arrays, seal)

    return made


def config(change):
    """A file whose configuration was changed."""

    def changed(entries):
        known = json.loads(entries["__metadata__"]["network"])
        change(known)
        entries["__metadata__"]["network"] = json.dumps(known)

    return header(changed)


def entry(name, **fields):
    return header(lambda entries: entries[name].update(fields))


def gru(**fields):
    """A file with other fields in its GRU."""
    return config(lambda c: c["layer"]["fields"]["cells"][1]["fields"].update(fields))


def text(text):
    """A file with another text for its configuration."""
    return header(lambda entries: entries["__metadata__"].update(network=text))


def flipped(place):
    def made(file):
        at = place(file) if callable(place) else place % len(file)
        return file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :]

    return made


def larger(file):
    """An array that is as large as the file says, but not as the network."""
    entries, arrays = parts(file)
    (name, last) = list(entries.items())[-1]
    begin = last["data_offsets"][0]
    entries[name] = {"dtype": "F32", "shape": [64, 64], "data_offsets": [begin, begin + 2**14]}
    return joined(entries, arrays[:begin] + bytes(2**14))


def more(file):
    entries, arrays = parts(file)
    end = len(arrays)
    entries["params.more"] = {"dtype": "F32", "shape": [], "data_offsets": [end, end + 4]}
    return joined(entries, arrays + bytes(4))


def less(file):
    entries, arrays = parts(file)
    _, last = entries.popitem()
    return joined(entries, arrays[: last["data_offsets"][0]])


def huge_bomb(file):
    return (2**24).to_bytes(8, "little") + b"[" * 2**24


def archive(file):
    kept = io.BytesIO()
    np.savez(kept, w=np.zeros(3))
    return kept.getvalue()


class Harm:
    """What a pickle would run."""

    def __reduce__(self):
        return os.abort, ()


def deep(depth):
    return {
        "class": "Residual",
        "fields": {"cell": deep(depth - 1) if depth else {"function": "jax.nn.relu"}},
    }


FIRST = "params.0.w"
S5 = to_json(rnn.S5(1000))  # its `init` takes seconds and 200 MB
BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda file: b"", "a file of 0 bytes"),
    "three bytes": (lambda file: file[:3], "a file of 3 bytes"),
    "cut in the header": (lambda file: file[:100], "in a file of 100"),
    "cut in the arrays": (lambda file: file[:-5], "bytes of arrays where it names"),
    "a byte too many": (lambda file: file + b"\0", "bytes of arrays where it names"),
    "a flipped byte in the length": (flipped(0), "a header that is"),
    "a flipped byte in the checksum": (flipped(50), "a header that is not what was written"),
    "a flipped byte in the configuration": (
        flipped(lambda file: file.index(b"GRU")),
        "a header that is not what was written",
    ),
    "a flipped byte in a shape": (
        flipped(lambda file: file.index(b'"shape":[5') + 9),
        "a header that is not what was written",
    ),
    "a flipped byte of an array": (flipped(-1), "arrays that are not what was written"),
    "another dtype": (entry(FIRST, dtype="I32"), "params.0.w int32[5, 3]; need float32[5, 3]"),
    "an unknown dtype": (entry(FIRST, dtype="C64"), "params.0.w as"),
    "a wider dtype": (entry(FIRST, dtype="F64"), "params.0.w float64[5, 3] at the bytes"),
    "a shape of other numbers": (entry(FIRST, shape=[3, 5]), "params.0.w float32[3, 5]; need"),
    "a huge shape": (entry(FIRST, shape=[2**40, 2**40]), "at the bytes"),
    "a negative size": (entry(FIRST, shape=[-5, -3]), "params.0.w as"),
    "a size that is no integer": (entry(FIRST, shape=[5.0, 3]), "params.0.w as"),
    "offsets elsewhere": (entry(FIRST, data_offsets=[4, 64]), "at the bytes 4 to 64"),
    "a larger array": (larger, "float32[64, 64]"),
    "an array too many": (more, "params.more"),
    "an array too few": (less, "no state.1 among"),
    "an unknown class": (
        config(lambda c: c["layer"].update({"class": "os.system"})),
        "the class os.system as the network",
    ),
    "a class that is no layer": (
        config(lambda c: c.update(layer={"class": "Scan", "fields": {}})),
        "need a layer, Pooled or EncoderDecoder",
    ),
    "no class at all": (config(lambda c: c.update(layer=[1, 2])), "need a layer, Pooled or"),
    "a class of other keys": (config(lambda c: c["layer"].update(call="f")), "call"),
    "an unknown function": (gru(w_x_init={"function": "jax.nn.abort"}), "'jax.nn.abort'"),
    "a name that is none": (gru(w_x_init={"function": ["f"]}), "the function ['f']"),
    "an unknown field": (gru(hide=2), "the arguments hide"),
    "a field of another type": (gru(hidden="two"), "hidden='two'; need an integer"),
    "a field out of its range": (gru(hidden=-2), "hidden=-2; need a positive integer"),
    "a size as of a larger file": (gru(hidden=2**40), f".hidden={2**40}"),
    "a network that is made at great cost": (
        config(lambda c: c["layer"]["fields"]["cells"].append(S5)),
        "no params.2.d among",
    ),
    "inputs as of a larger file": (
        config(lambda c: c.update(inputs=[[{"dtype": "I32", "shape": [2**50]}]])),
        "inputs of shape",
    ),
    "inputs of another kind": (
        config(lambda c: c.update(inputs=[[{"dtype": "F32", "shape": [3]}]])),
        "the network with",
    ),
    "no inputs": (config(lambda c: c.update(inputs=[])), "the network with"),
    "a state of another batch": (config(lambda c: c.update(batch=[3])), "need float32[3, 2]"),
    "a batch that is none": (config(lambda c: c.update(batch=["a"])), "the state with"),
    "no state": (config(lambda c: c.update(batch=None)), "state.1 float32[2, 2]; need only"),
    "a deep network": (config(lambda c: c.update(layer=deep(150))), "nested more than 100 deep"),
    "a deep configuration": (text("[" * 100000), "a configuration that is no JSON"),
    "a deep header": (huge_bomb, "a header that is no JSON"),
    "a long header": (lambda file: (2**62).to_bytes(8, "little") + file[8:], "of another kind"),
    "a list for a header": (lambda file: joined(b"[1, 2]", b""), "a header of another form"),
    "NaN for a size": (text('{"layer": NaN}'), "no JSON (NaN)"),
    "a number of a million digits": (text("1" * 10**6), "a configuration that is no JSON"),
    "one name twice": (
        lambda file: joined(b'{"__metadata__":{},"a":1,"a":2}', b""),
        "a name twice",
    ),
    "no text": (lambda file: joined(b'{"\xff": 1}', b""), "a header that is no JSON"),
    "another version": (
        header(lambda entries: entries["__metadata__"].update(version="2", writer="9.0")),
        "the form 2, which jaxrnn 9.0 wrote",
    ),
    "another library's": (
        header(lambda entries: entries.update(__metadata__={"format": "pt"}), seal=False),
        "no network of jaxrnn's, but arrays params.0.w",
    ),
    "a pickle": (lambda file: pickle.dumps(Harm()), "a pickle, which is never opened"),
    "an archive": (archive, "an archive, as np.savez"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_damaged_file_is_one_clear_error(kind, good, tmp_path, monkeypatch):
    hurt, words = BROKEN[kind]
    path = tmp_path / "net.safetensors"
    path.write_bytes(hurt(good))
    taken = []
    if "of an array" not in kind:  # whose memory is taken, since its size is right
        monkeypatch.setattr(tensors, "read_arrays", lambda *args: taken.append(args))
    modules = set(sys.modules)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"got .*; need ") as caught:
            rnn.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{path}: got ")
    assert words in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert not taken
    assert set(sys.modules) == modules
    assert peak < 2**26


def test_what_is_no_file_is_refused(tmp_path, good):
    (tmp_path / "link").symlink_to(tmp_path / "link")
    os.mkfifo(tmp_path / "pipe")
    for name, kind, words in (
        ("none", FileNotFoundError, "no file there"),
        ("", IsADirectoryError, "training.restore"),
        ("link", OSError, "Too many levels"),
        ("pipe", ValueError, "a device or a pipe"),
        ("a\0b", ValueError, "cannot be read"),
    ):
        with pytest.raises(kind, match=words):
            rnn.load(tmp_path / name)
    (tmp_path / "net").write_bytes(good)
    (tmp_path / "right").symlink_to(tmp_path / "net")
    assert rnn.load(tmp_path / "right").layer == NET


def test_every_flipped_bit_of_a_file_is_seen(good, tmp_path):
    path = tmp_path / "net"
    for at in range(0, len(good), 7):
        path.write_bytes(flipped(at)(good))
        with pytest.raises(ValueError, match=str(path)):
            rnn.load(path)


def test_the_closed_table_is_what_layers_are_made_of():
    named = configuration.classes()
    assert {"LSTM", "Stack", "Scan", "Newton", "Dale", "Chrono"} <= named.keys()
    assert all(kind.__module__.startswith("jaxrnn.") for kind in named.values())
    assert all(dataclasses.is_dataclass(kind) for kind in named.values())


def test_other_libraries_read_the_arrays(good):
    """The form is that of safetensors, read here by its definition."""
    entries, arrays = parts(good)
    entries.pop("__metadata__")
    begin, end = entries[FIRST]["data_offsets"]
    found = np.frombuffer(arrays[begin:end], np.float32).reshape(entries[FIRST]["shape"])
    np.testing.assert_array_equal(found, PARAMS[0]["w"])
    assert len(good) % 4 == 0
    assert (8 + int.from_bytes(good[:8], "little")) % 8 == 0
