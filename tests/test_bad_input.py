"""No bad call is answered from inside JAX: each is refused by a message that says what to do."""

import importlib
import pathlib
import pkgutil
import traceback

import pytest

import jaxrnn as rnn
from helpers import bad_calls

ROOT = pathlib.Path(rnn.__file__).parent

CALLS = [
    pytest.param(call, id=f"{room.name}: {call.name}")
    for room in pkgutil.iter_modules(bad_calls.__path__)
    for call in importlib.import_module(f"helpers.bad_calls.{room.name}").CALLS
]


@pytest.mark.parametrize("bad", CALLS)
def test_bad_calls_are_refused(bad):
    with pytest.raises(bad.kind) as caught:
        bad.call()
    message = str(caught.value)
    raised = traceback.extract_tb(caught.value.__traceback__)[-1].filename
    assert ROOT in pathlib.Path(raised).parents, f"raised in {raised}: {message}"
    for word in ("got", "need", *bad.words):
        assert word in message, f"no {word!r} in: {message}"
