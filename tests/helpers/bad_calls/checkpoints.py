"""Bad calls of `fit` and `restore`: arguments, what is returned to `fit`, and directories."""

import pathlib
import tempfile
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from helpers.bad_calls import Bad, at
from jaxrnn import training
from jaxrnn.training.integrity import locked

TX = training.optimizer(optax.sgd(0.1))


class Loss(NamedTuple):
    """The metrics of a step that compiles nothing."""

    loss: jax.Array


def begin(size=2, seed=0, value=1.0):
    params = {"w": jnp.full(size, value)}
    return training.TrainState.create(None, params, TX, jax.random.key(seed))


STATE = begin()


def step(state, batch):
    return state._replace(step=state.step + 1), Loss(jnp.float32(0.0))


def batches(n):
    return n


FOLDER = tempfile.TemporaryDirectory()
ROOT = pathlib.Path(FOLDER.name)
(ROOT / "file").touch()


def fit(step=step, state=STATE, batches=batches, steps=2, **options):
    return training.fit(step, state, batches, steps, progress=False, **options)


network = training.restore_network


def of_no_network():
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        fit(directory=folder)
        network(folder)


def evaluated(result):
    """A run whose evaluation returns this."""
    return fit(evaluate=lambda state: result)


def again(first, then, hurt=None):
    """A run in a directory, then another in the same one."""
    with tempfile.TemporaryDirectory(dir=ROOT) as folder:
        fit(directory=folder, **first)
        if hurt is not None:
            hurt(pathlib.Path(folder))
        fit(directory=folder, **then)


def hurt(folder):
    (folder / "2" / "record.json").write_text("")


def beside_another():
    with locked(ROOT):
        fit(directory=ROOT)


def changing_names():
    results = iter([{"loss": 1.0}, {"bits": 1.0}])
    fit(evaluate=lambda state: next(results), evaluate_every=1)


LOSS = {"evaluate": lambda state: {"loss": 1.0}}

CALLS = [
    # Counts
    Bad("save_every=0", lambda: fit(save_every=0), ValueError, ("save_every=0", "at least 1")),
    Bad("save_every=-5", lambda: fit(save_every=-5), ValueError, ("save_every=-5",)),
    Bad("save_every=1.5", lambda: fit(save_every=1.5), TypeError, ("save_every=1.5", "integer")),
    Bad("keep=0", lambda: fit(keep=0), ValueError, ("keep=0", "at least 1")),
    Bad("keep=True", lambda: fit(keep=True), TypeError, ("keep=True", "integer")),
    Bad("fetch_every=0", lambda: fit(fetch_every=0), ValueError, ("fetch_every=0",)),
    Bad("evaluate_every=0", lambda: fit(evaluate_every=0), ValueError, ("evaluate_every=0",)),
    Bad("steps=-1", lambda: fit(steps=-1), ValueError, ("steps=-1", "at least 0")),
    Bad("steps=1e3", lambda: fit(steps=1e3), TypeError, ("steps=1000.0", "integer")),
    Bad("steps=None", lambda: fit(steps=None), TypeError, ("steps=None", "integer")),
    Bad(
        "patience=0",
        lambda: fit(**LOSS, best="loss", best_mode="min", patience=0),
        ValueError,
        ("patience=0", "at least 1"),
    ),
    # What is called
    Bad("batches as a list", lambda: fit(batches=[1, 2]), TypeError, ("list", "lambda n: batches")),
    Bad(
        "batches as a generator",
        lambda: fit(batches=(n for n in range(9))),
        TypeError,
        ("generator", "batches(n)", "iterator cannot"),
    ),
    Bad("batches as an array", lambda: fit(batches=jnp.ones(3)), TypeError, ("float32[3]",)),
    Bad("step as an optimizer", lambda: fit(step=TX), TypeError, ("step as a", "bptt_step")),
    Bad("state as params", lambda: fit(state={"w": 1.0}), TypeError, ("dict", "TrainState.create")),
    Bad("evaluate as a number", lambda: fit(evaluate=3), TypeError, ("int", "evaluate(state)")),
    # What is returned
    Bad(
        "a step that returns a state", lambda: fit(step=lambda s, b: s), TypeError, ("TrainState",)
    ),
    Bad(
        "a step that returns metrics first",
        lambda: fit(step=lambda s, b: step(s, b)[::-1]),
        TypeError,
        ("(Loss, TrainState)", "(state, metrics)"),
    ),
    Bad(
        "metrics as an array",
        lambda: fit(step=lambda s, b: (s, jnp.float32(1))),
        TypeError,
        ("metrics as a float32[]", "NamedTuple"),
    ),
    Bad(
        "metrics of several numbers",
        lambda: fit(step=lambda s, b: (s, Loss(jnp.ones(3)))),
        TypeError,
        ("loss float32[3]", "scalar"),
    ),
    Bad("an evaluation as a number", lambda: evaluated(0.5), TypeError, ("float", "mapping")),
    Bad("an evaluation of None", lambda: evaluated(None), TypeError, ("NoneType", "mapping")),
    Bad(
        "an evaluation as evaluate gives it",
        lambda: evaluated((None, training.MaskedMean(jnp.ones(()), jnp.ones(())))),
        TypeError,
        ("tuple from evaluate", "mapping"),
    ),
    Bad(
        "an evaluation of an array",
        lambda: evaluated({"loss": jnp.ones(3)}),
        TypeError,
        ("'loss' float32[3]", "one number"),
    ),
    Bad(
        "an evaluation of text",
        lambda: evaluated({"loss": "low"}),
        TypeError,
        ("'loss' str", "one number"),
    ),
    Bad(
        "an evaluation named step", lambda: evaluated({"step": 1}), ValueError, ("'step'", "other")
    ),
    Bad("evaluations of other names", changing_names, ValueError, ("'bits'", "'loss', as at")),
    # The best params
    Bad(
        "best of another name",
        lambda: fit(**LOSS, best="accuracy", best_mode="max"),
        ValueError,
        ("'loss' from evaluate", "'accuracy' among them"),
    ),
    Bad("best without a mode", lambda: fit(**LOSS, best="loss"), ValueError, ("best_mode=None",)),
    Bad(
        "a mode of another library",
        lambda: fit(**LOSS, best="loss", best_mode="auto"),
        ValueError,
        ("'auto'", 'best_mode="min" or best_mode="max"'),
    ),
    Bad("a mode alone", lambda: fit(**LOSS, best_mode="min"), ValueError, ("without best",)),
    Bad(
        "patience alone", lambda: fit(**LOSS, patience=3), ValueError, ("patience=3 without best",)
    ),
    Bad(
        "best without evaluate",
        lambda: fit(best="loss", best_mode="min"),
        ValueError,
        ("without evaluate",),
    ),
    Bad("best as a function", lambda: fit(**LOSS, best=min), TypeError, ("best=<built-in", "name")),
    # Directories
    Bad(
        "a directory that is a file",
        lambda: fit(directory=ROOT / "file"),
        NotADirectoryError,
        ("file: got a file", "need a directory"),
    ),
    Bad(
        "a directory under a file",
        lambda: fit(directory=ROOT / "file" / "under"),
        OSError,
        ("cannot be written to (Not a directory)", "another directory"),
    ),
    Bad("a directory as a number", lambda: fit(directory=3), TypeError, ("directory=3", "a path")),
    Bad(
        "a directory of another writer", beside_another, BlockingIOError, ("process", "one writer")
    ),
    Bad(
        "restore of a file",
        lambda: training.restore(ROOT / "file", STATE),
        NotADirectoryError,
        ("got a file",),
    ),
    Bad(
        "restore of no directory",
        lambda: training.restore(ROOT / "none", STATE),
        FileNotFoundError,
        ("without a checkpoint", "Train first"),
    ),
    Bad("restore of None", lambda: training.restore(None, STATE), TypeError, ("directory=None",)),
    at("no network in none", FileNotFoundError, ("Train first",), network, ROOT / "none"),
    Bad("a step of one's own", of_no_network, ValueError, ("notes no network", "by its code")),
    at("no network in a file", NotADirectoryError, ("got a file",), network, ROOT / "file"),
    # Resumed runs
    Bad(
        "another seed",
        partial(again, {}, {"steps": 4, "state": begin(seed=7)}),
        ValueError,
        ("state.key [0, 7]", "[0, 0], from which", "same seed"),
    ),
    Bad(
        "other initial params",
        partial(again, {}, {"steps": 4, "state": begin(value=2.0)}),
        ValueError,
        ("state.params['w'] [2, 2]", "[1, 1]"),
    ),
    Bad(
        "other shapes",
        partial(again, {}, {"steps": 4, "state": begin(size=3)}),
        ValueError,
        ("float32[2]", "float32[3]", "another network"),
    ),
    Bad(
        "other settings",
        partial(again, {"settings": {"rate": 0.1}}, {"settings": {"rate": 0.2}}),
        ValueError,
        ("settings rate 0.2", "rate 0.1", "another directory"),
    ),
    Bad(
        "settings left out",
        partial(again, {"settings": {"rate": 0.1}}, {}),
        ValueError,
        ("rate missing", "rate 0.1"),
    ),
    Bad("settings as a list", lambda: fit(settings=[0.1]), TypeError, ("list", "a mapping")),
    Bad(
        "settings of a function",
        lambda: fit(settings={"schedule": step}),
        TypeError,
        ("schedule as a function", "JSON"),
    ),
    Bad(
        "a state of Python's numbers",
        lambda: fit(state=STATE._replace(carry=1.0), directory=ROOT / "new"),
        TypeError,
        ("state.carry float", "arrays"),
    ),
    Bad(
        "no checkpoint is whole",
        partial(again, {}, {}, hurt),
        ValueError,
        ("step 2 is damaged: record.json is not", "Put back a copy"),
    ),
]
