"""Damaged and hostile files of Keras and PyTorch: each is one error of jaxrnn that names the file
and what does not fit. Nothing in them runs, and nothing that they declare takes memory."""

import io
import json
import pathlib
import pickle
import struct
import tempfile
import traceback
import zipfile

import jax
import numpy as np
import pytest

import jaxrnn as rnn

pytest.importorskip("keras")
torch = pytest.importorskip("torch")
h5py = pytest.importorskip("h5py")

from jaxrnn.interop.keras import load_keras, to_keras  # noqa: E402  they need their packages
from jaxrnn.interop.torch import from_torch, load_torch  # noqa: E402

ROOT = pathlib.Path(rnn.__file__).parent
FOLDER = tempfile.TemporaryDirectory()
HERE = pathlib.Path(FOLDER.name)
NET = rnn.Stack((rnn.LSTM(2), rnn.Dense(2)))
PARAMS = NET.init(jax.random.key(0), 3)
K, R = "layers/lstm/cell/vars/0", "layers/lstm/cell/vars/1"
LSTM = torch.nn.LSTM(3, 2)
STATE = LSTM.state_dict()


@pytest.fixture(scope="module")
def good():
    """A file of each kind as it should be, in bytes."""
    model, made = to_keras(NET, PARAMS), {}
    model.save(HERE / "good.keras")
    model.save_weights(HERE / "good.weights.h5")
    torch.save(STATE, HERE / "good.pt")
    (HERE / "good.safetensors").write_bytes(safetensors(STATE))
    for kind in ("keras", "weights.h5", "pt", "safetensors"):
        made[kind] = (HERE / f"good.{kind}").read_bytes()
    return made


def load(path):
    if path.name.endswith((".pt", ".safetensors")):
        return load_torch(path)
    return load_keras(path, None if path.name.endswith(".keras") else NET)


def safetensors(state, **changes):
    """A file of safetensors of these tensors, with entries of its header changed."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in state.items():
        more = tensor.contiguous().view(torch.uint8).numpy().tobytes()
        dtype = {torch.float32: "F32", torch.int32: "I32", torch.float16: "F16"}[tensor.dtype]
        offsets = [len(data), len(data) + len(more)]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": offsets}
        data += more
    for name, change in changes.items():
        header[name] = header.get(name, {}) | change
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


# What a function of the good bytes, and of the path, writes.


def cut(part):
    return lambda data, path: data[: int(len(data) * part)]


def flip(part):
    def change(data, path):
        k = int(len(data) * part)
        return data[:k] + bytes([data[k] ^ 16]) + data[k + 1 :]

    return change


def flipped_array(data, path):
    array = STATE[IH].numpy().tobytes()
    return data.replace(array, bytes([array[0] ^ 1]) + array[1:])


def raw(new):
    return lambda data, path: new


def h5(change):
    """A file of HDF5 after a change."""

    def changed(data, path):
        path.write_bytes(data)
        with h5py.File(path, "r+") as file:
            change(file)

    return changed


def put(name, **settings):
    """A dataset in another's place."""

    def change(file):
        if name in file:
            del file[name]
        file.create_dataset(name, **settings)

    return h5(change)


def link(name, made):
    def change(file):
        del file[name]
        file[name] = made

    return h5(change)


def virtual(file):
    del file[K]
    layout = h5py.VirtualLayout((3, 8), "f4")
    layout[:] = h5py.VirtualSource(str(HERE / "good.weights.h5"), K, (3, 8))
    file.create_virtual_dataset(K, layout)


def cycle(file):
    file["layers/again"] = file["layers"]


def many(file):
    for i in range(70):
        file.create_group(f"layers{'/deep' * i}/deep")


def dense(file):
    for name in [n for n in file]:
        del file[name]
    file.create_dataset("model_weights/lstm/lstm/kernel:0", data=np.ones((3, 8), "f4"))


def members(data):
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {name: file.read(name) for name in file.namelist()}


def zipped(change, how=zipfile.ZIP_STORED):
    """An archive after a change of its members, which are stored as they are."""

    def changed(data, path):
        held = members(data)
        with zipfile.ZipFile(path, "w", how) as file:
            for name, text in change(held) or held.items():
                file.writestr(name, text)

    return changed


def without(name):
    return zipped(lambda held: [pair for pair in held.items() if pair[0] != name])


def plus(name, text=b"x"):
    return zipped(lambda held: [*held.items(), (name, text)])


def config(change):
    """An archive whose configuration of the LSTM is changed, or is what the change returns."""

    def changed(held):
        net = json.loads(held["config.json"])
        layers = net["config"]["layers"]
        lstm = next(one for one in layers if one["class_name"] == "LSTM")
        made = change(lstm)
        held["config.json"] = made if made is not None else json.dumps(net).encode()

    return zipped(changed)


def field(**fields):
    return config(lambda lstm: lstm["config"].update(fields))


def nested(depth):
    one = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 2}}
    for _ in range(depth):
        one = {"module": "keras", "class_name": "Sequential", "config": {"layers": [one]}}
    return json.dumps(one).encode()


def state(**changes):
    """A state dict after changes; what is None is left out."""

    def changed(data, path):
        torch.save({k: v for k, v in (STATE | changes).items() if v is not None}, path)

    return changed


class Code:
    """What runs when it is unpickled."""

    def __reduce__(self):
        return pathlib.Path.touch, (HERE / "it ran",)


def saved(make, **settings):
    return lambda data, path: torch.save(make(), path, **settings)


def scripted(data, path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))


def header(text):
    return raw(struct.pack("<Q", len(text)) + text)


IH = "weight_ih_l0"
ENTRY = {"dtype": "F32", "shape": [8, 3], "data_offsets": [0, 96]}
HUGE = {"chunks": (1024, 1024), "shape": (2**20, 2**20), "dtype": "f4"}
CASES = {
    "keras": {
        "empty": (raw(b""), "an empty file"),
        "text": (raw(b"a letter to a friend"), "of another kind"),
        "a pickle": (raw(pickle.dumps([1])), "a pickle"),
        "half": (cut(0.5), "damaged archive"),
        "the start of a zip": (raw(b"PK\x03\x04"), "damaged archive"),
        "an empty zip": (zipped(lambda held: [("a", b"")]), "a member 'a'"),
        "a flipped bit in the weights": (flip(0.8), "CRC"),
        "no config": (without("config.json"), "without config.json"),
        "no weights": (without("model.weights.h5"), "without model.weights.h5"),
        "a path out": (plus("../../out"), "../../out"),
        "an absolute path": (plus("/tmp/out"), "/tmp/out"),
        "two of a name": (plus("config.json", b"{}"), "two of that name"),
        "compressed": (zipped(lambda held: None, zipfile.ZIP_DEFLATED), "compressed"),
        "a zip bomb": (
            zipped(
                lambda held: [("config.json", b"{}"), ("model.weights.h5", bytes(2**24))],
                zipfile.ZIP_DEFLATED,
            ),
            "compressed",
        ),
        "weights that are a pickle": (
            zipped(lambda held: held.update({"model.weights.h5": pickle.dumps(Code())})),
            "HDF5 cannot read",
        ),
        "no JSON": (config(lambda lstm: b"{"), "config.json that is no JSON"),
        "a list": (config(lambda lstm: b"[]"), "the configuration of a layer"),
        "NaN": (config(lambda lstm: b'{"epsilon": NaN}'), "no JSON"),
        "deep JSON": (config(lambda lstm: b"[" * 10**5), "no JSON"),
        "nested layers": (config(lambda lstm: nested(64)), "nested more than"),
        "a name of a module": (config(lambda lstm: lstm.update(module="os")), "the module os"),
        "a lambda": (
            config(lambda lstm: lstm.update(class_name="Lambda")),
            "a Lambda",
        ),
        "a size of 2**60": (field(units=2**60), f"float32[3, {2**62}]"),
        "a size below one": (field(units=-1), "units=-1"),
        "a size in words": (field(units="2"), "units='2'"),
        "another size": (field(units=3), "float32[3, 12]"),
        "a function by its code": (
            field(activation={"class_name": "__lambda__", "config": {"value": "4wEA"}}),
            "activation={",
        ),
        "gates of another kind": (field(recurrent_activation="relu"), "recurrent_activation"),
        "no layers": (
            config(lambda lstm: nested(1).replace(b'"layers": [', b'"other": [')),
            "layers=None",
        ),
    },
    "weights.h5": {
        "empty": (raw(b""), "an empty file"),
        "half": (cut(0.5), "HDF5 cannot read"),
        "all but a byte": (lambda data, path: data[:-1], "HDF5 cannot read"),
        "a signature alone": (raw(b"\x89HDF\r\n\x1a\n"), "HDF5 cannot read"),
        "flipped": (lambda data, path: data[:8] + b"x" + data[9:], "HDF5 cannot read"),
        "another shape": (put(R, data=np.ones((3, 8), "f4")), f"{R} (recurrent_kernel)"),
        "integers": (put(K, data=np.ones((3, 8), "i4")), "int32[3, 8]"),
        "half precision in one": (put(R, data=np.ones((2, 8), "f2")), "float16"),
        "complex numbers": (put(K, data=np.ones((3, 8), "c8")), "complex64"),
        "big-endian": (put(K, data=np.ones((3, 8), ">f4")), ">f4"),
        "strings": (put(K, data=np.full((3, 8), b"x")), "dtype |S1"),
        "objects": (put(K, shape=(3, 8), dtype=h5py.string_dtype()), "dtype object"),
        "no space": (put(K, data=h5py.Empty("f4")), "dtype float32"),
        "missing": (h5(lambda file: file.pop(R)), f"no {R} (recurrent_kernel)"),
        "one more": (put("layers/dense/vars/7", data=np.ones(2, "f4")), "layers/dense/vars/7"),
        "one elsewhere": (put("more/vars/0", data=np.ones(2, "f4")), "more/vars/0"),
        "a soft link": (link(K, h5py.SoftLink(f"/{R}")), "SoftLink"),
        "a link to a file": (
            link(K, h5py.ExternalLink("/etc/passwd", "/x")),
            "ExternalLink",
        ),
        "a named dtype": (link(K, np.dtype("f4")), "HDF5 cannot read"),
        "a cycle": (h5(cycle), "deep"),
        "a deep group": (h5(many), "deep"),
        "virtual": (h5(virtual), "in chunks"),
        "data in another file": (
            put(K, shape=(3, 8), dtype="f4", external=[("/etc/passwd", 0, 96)]),
            "elsewhere",
        ),
        "compressed": (put(K, data=np.ones((3, 8), "f4"), compression="gzip"), "compressed"),
        "in one chunk": (put(K, data=np.ones((3, 8), "f4"), chunks=(3, 8)), "in chunks"),
        "huge in chunks": (put(K, **HUGE), "in chunks"),
        "huge, never written": (put(K, shape=(2**20, 2**20), dtype="f4"), "of 0 bytes"),
        "of Keras 2": (h5(dense), "older versions"),
    },
    "pt": {
        "empty": (raw(b""), "a file of 0 bytes"),
        "half": (cut(0.5), "damaged archive"),
        "a flipped bit in an array": (flipped_array, "not what was written"),
        "a pickle with code": (saved(lambda: {IH: Code()}), "torch.load(weights_only=True)"),
        "code alone": (raw(pickle.dumps(Code(), protocol=2)), "a pickle, which is never opened"),
        "the old form": (
            saved(lambda: STATE, _use_new_zipfile_serialization=False),
            "a pickle, which is never opened",
        ),
        "a module": (saved(lambda: LSTM), "torch.load(weights_only=True)"),
        "a list": (saved(lambda: list(STATE.values())), "a list"),
        "nothing": (saved(dict), "arrays (none)"),
        "another archive": (plus("x"), "torch.load(weights_only=True)"),
        "compressed": (zipped(lambda held: None, zipfile.ZIP_DEFLATED), "compressed"),
        "a scripted module": (scripted, "compressed"),
        "deep": (
            saved(lambda: [d := STATE, *[d := {"x": d} for _ in range(20)]][-1]),
            "deep",
        ),
        "missing": (state(weight_hh_l0=None), "nothing as weight_hh_l0"),
        "a bias missing": (state(bias_hh_l0=None), "no bias_hh_l0"),
        "one more": (state(weight_xx=torch.ones(2)), "weight_xx"),
        "rows of no gates": (state(weight_ih_l0=torch.ones(7, 3)), "[7, 3] for 2 units"),
        "another shape": (state(bias_ih_l0=torch.ones(7)), "bias_ih_l0 float32[7]"),
        "a vector": (state(weight_hh_l0=torch.ones(8)), "weight_hh_l0"),
        "integers": (state(bias_ih_l0=torch.ones(8, dtype=torch.int64)), "bias_ih_l0 int64[8]"),
        "another dtype": (state(bias_ih_l0=torch.ones(8).double()), "bias_ih_l0 float64[8]"),
        "complex": (state(weight_ih_l0=torch.ones(8, 3, dtype=torch.cfloat)), "complex64"),
        "sparse": (state(weight_ih_l0=torch.ones(8, 3).to_sparse()), "sparse_coo"),
        "on no device": (state(weight_ih_l0=torch.ones(8, 3, device="meta")), "meta"),
        "huge by strides": (
            state(weight_ih_l0=torch.ones(1, 1).expand(8, 2**40)),
            "of fewer bytes",
        ),
        "under a prefix": (saved(lambda: {"model": STATE}), "Pass prefix='model.'"),
    },
    "safetensors": {
        "half": (cut(0.5), "bytes"),
        "all but a byte": (lambda data, path: data[:-1], "bytes of arrays"),
        "seven bytes": (raw(b"1234567"), "7 bytes"),
        "a huge header": (raw(struct.pack("<Q", 2**60) + b"{}"), "of another kind"),
        "no JSON": (header(b"{{"), "no JSON"),
        "a list": (header(b"[]"), "of another form"),
        "a name twice": (header(b'{"a": {}, "a": {}}'), "a name twice"),
        "a huge array": (raw(safetensors(STATE, **{IH: {"shape": [2**31, 2**31]}})), IH),
        "a negative size": (raw(safetensors(STATE, **{IH: {"shape": [-8, -3]}})), IH),
        "overlapping": (raw(safetensors(STATE, more=ENTRY)), "more"),
        "an unknown dtype": (raw(safetensors(STATE, **{IH: {"dtype": "F7"}})), "F7"),
        "beyond the end": (raw(safetensors(STATE, z=ENTRY | {"data_offsets": [0, 2**50]})), "z"),
        "integers": (raw(safetensors(STATE | {IH: torch.ones(8, 3).int()})), "int32[8, 3]"),
        "another shape": (raw(safetensors(STATE | {IH: torch.ones(3, 8)})), "[3, 8] for 2 units"),
        "missing": (raw(safetensors({IH: torch.ones(8, 3)})), "weight_hh_l0"),
        "none": (raw(safetensors({})), "arrays (none)"),
    },
}


def refused(path):
    """The message of the one error with which a file is refused."""
    with pytest.raises((ValueError, OSError)) as caught:
        load(path)
    raised = traceback.extract_tb(caught.value.__traceback__)[-1].filename
    assert ROOT in pathlib.Path(raised).parents, f"raised in {raised}: {caught.value}"
    message = str(caught.value)
    assert message.startswith(f"{path}: got "), message
    assert "need " in message
    assert len(message) < 1000
    return message


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, cases in CASES.items() for name in cases]
)
def test_each_is_one_error(good, kind, name):
    change, words = CASES[kind][name]
    path = HERE / f"{name}.{kind}"
    made = change(good[kind], path)
    if made is not None:
        path.write_bytes(made)
    assert words in refused(path)
    assert not (HERE / "it ran").exists()


@pytest.mark.parametrize("kind", CASES)
def test_no_file_and_a_directory(kind):
    for make, words in ((lambda path: None, "no file"), (pathlib.Path.mkdir, "a directory")):
        path = HERE / f"no file.{kind}"
        make(path)
        assert words in refused(path)


def test_the_code_in_a_pickle_would_run():
    pickle.loads(pickle.dumps(Code()))
    assert (HERE / "it ran").exists()
    (HERE / "it ran").unlink()


def tried(path):
    """The params of a file, or the message of the one error."""
    params, message = None, ""
    try:
        params = load(path)[1]
    except (ValueError, OSError) as why:
        message = str(why)
    assert not message or message.startswith(f"{path}: got "), message
    return params, message


@pytest.mark.parametrize("kind", ["keras", "pt"])
def test_a_flipped_bit_is_an_error_or_of_no_weight(good, kind):
    """These have checksums: whatever loads is what was saved."""
    want = PARAMS if kind == "keras" else from_torch(LSTM)[1]
    data, rng, errors = good[kind], np.random.default_rng(0), 0
    path = HERE / f"flipped.{kind}"
    for k in rng.integers(0, len(data), 40):
        path.write_bytes(data[:k] + bytes([data[k] ^ (1 << rng.integers(8))]) + data[k + 1 :])
        params, why = tried(path)
        errors += bool(why)
        jax.tree.map(np.testing.assert_array_equal, want if why else params, want)
    assert errors > 5


@pytest.mark.slow
def test_fuzzed_configurations_and_headers(good):
    """Values of the configuration, and bytes of HDF5, pickles and headers, at random: one error, or
    a network."""
    rng = np.random.default_rng(0)
    held = members(good["keras"])
    net = json.loads(held["config.json"])
    odd = [None, True, -1, 0, 1e300, 2**70, "", "x", "../..", [], {}, [[]], {"class_name": "os"}]

    def places(one):
        for key, value in one.items() if isinstance(one, dict) else enumerate(one):
            yield one, key
            if isinstance(value, (dict, list)):
                yield from places(value)

    for within, key in list(places(net)):
        kept = within[key]
        within[key] = odd[rng.integers(len(odd))]
        held["config.json"] = json.dumps(net).encode()
        zipped(lambda _: held.items())(good["keras"], HERE / "fuzzed.keras")
        tried(HERE / "fuzzed.keras")
        within[key] = kept
    data = good["weights.h5"]
    for k in rng.integers(0, len(data), 200):
        changed = data[:k] + bytes([rng.integers(256)]) + data[k + 1 :]
        (HERE / "fuzzed.weights.h5").write_bytes(changed)
        tried(HERE / "fuzzed.weights.h5")
    held = members(good["pt"])
    name = next(name for name in held if name.endswith("/data.pkl"))
    pickled, data = held[name], good["safetensors"]
    for k in rng.integers(0, 2**16, 200):
        one = k % len(pickled)
        held[name] = pickled[:one] + bytes([rng.integers(256)]) + pickled[one + 1 :]
        zipped(lambda _: held.items())(good["pt"], HERE / "fuzzed.pt")
        tried(HERE / "fuzzed.pt")
        one = k % (len(data) // 2)
        changed = data[:one] + bytes([rng.integers(256)]) + data[one + 1 :]
        (HERE / "fuzzed.safetensors").write_bytes(changed)
        tried(HERE / "fuzzed.safetensors")


def test_files_as_they_should_be(good):
    for kind in ("keras", "weights.h5"):
        layer, params = load(HERE / f"good.{kind}")
        assert layer == NET
        jax.tree.map(np.testing.assert_array_equal, params, PARAMS)
    cell, want = from_torch(LSTM)
    swapped = safetensors(dict(reversed(STATE.items())))
    (HERE / "swapped.safetensors").write_bytes(swapped)
    for name in ("good.pt", "good.safetensors", "swapped.safetensors"):
        assert load(HERE / name)[0] == cell
        jax.tree.map(np.testing.assert_array_equal, load(HERE / name)[1], want)
