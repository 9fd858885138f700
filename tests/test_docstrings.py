"""Every example in a docstring runs and shows what it says."""

import doctest
import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn as rnn
from helpers.tables import first

MODULES = [m.name for m in pkgutil.walk_packages(rnn.__path__, "jaxrnn.") if not m.ispkg]


# Examples that compile much.
LONG = (
    *("models.", "online.", "tasks.", "training.", "cells.echo_state", "combinators.transforms"),
    "diagnostics.",
)
BY_LENGTH = sorted(MODULES, key=lambda name: name.removeprefix("jaxrnn.").startswith(LONG))
SHORT = [name for name in MODULES if not name.removeprefix("jaxrnn.").startswith(LONG)]


@pytest.mark.parametrize("name", first(len(SHORT), BY_LENGTH))
def test_examples(name):
    scope = {
        **vars(rnn),
        **vars(rnn.training),
        "jax": jax,
        "jnp": jnp,
        "np": np,
        "optax": optax,
        "rnn": rnn,
    }
    if name.startswith("jaxrnn.interop"):
        torch, flax = pytest.importorskip("torch"), pytest.importorskip("flax")
        scope |= {
            "nn": torch.nn,
            "linen": importlib.import_module("flax.linen"),
            "nnx": importlib.import_module("flax.nnx"),
            "flax": flax,
        }
    if name.startswith(("jaxrnn.interop.onnx", "jaxrnn.interop.equinox")):
        pytest.importorskip(name.split(".")[2])
    module = importlib.import_module(name)
    result = doctest.testmod(
        module, globs={**vars(module), **scope}, optionflags=doctest.NORMALIZE_WHITESPACE
    )
    assert not result.failed


def test_every_cell_strategy_and_verb_has_an_example():
    for name in dir(rnn):
        thing = getattr(rnn, name)
        verb = inspect.isfunction(thing) and not name.startswith("_")
        if verb or (
            inspect.isclass(thing)
            and issubclass(thing, rnn.Layer | rnn.Strategy)
            and not inspect.isabstract(thing)
        ):
            assert ">>>" in thing.__doc__, f"{name} shows no example"
